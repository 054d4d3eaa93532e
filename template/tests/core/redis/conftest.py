"""Fixtures of the tests on a real Redis."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from app.config import Settings
from app.core.redis import link
from tests.core.plugin import with_changes
from tests.core.redis.servers import Server, own_server


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Redis of the test's own, which it may kill."""
    with own_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def prefix() -> str:
    """What the names of the test's keys begin with: several tests share a Redis."""
    return f"test:{uuid4().hex[:12]}"


@pytest.fixture
def on_redis(settings: Settings, redis_url: str, prefix: str) -> Settings:
    """Settings that lead to the Redis of all tests."""
    return leading_to(settings, redis_url, prefix)


@pytest.fixture
async def linked(on_redis: Settings) -> AsyncIterator[None]:
    """This process asks the Redis of all tests."""
    async with link.established(on_redis):
        yield


def leading_to(settings: Settings, url: str | None, prefix: str, **changes: object) -> Settings:
    """The same settings with the address of a Redis, and patience with a busy machine."""
    given = {"redis_url": url, "redis_enabled": True, "redis_key_prefix": prefix}
    return with_changes(settings, **given | {"redis_timeout": 3} | changes)
