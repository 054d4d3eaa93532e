"""What is remembered about jobs, in a real Redis."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from app.config import Settings
from app.core.jobs.backend import BACKEND
from app.core.jobs.backends.base import Queue
from app.core.jobs.backends.redis import RedisStore, key
from app.core.jobs.message import Message
from app.core.jobs.port import LONGEST_KEY, SENDING, key_of, send
from app.core.redis import RedisAwayError, link
from tests.core.redis.conftest import leading_to

MESSAGE = Message(id="a", task="keyed", arguments={}, key="daily")


@pytest.fixture
async def queue(settings: Settings, redis_url: str) -> AsyncIterator[Queue]:
    """The queue of this service, which has no worker."""
    on_redis = leading_to(settings, redis_url, f"test:{uuid4().hex[:12]}")
    async with link.established(on_redis), BACKEND.connected(on_redis) as queue:
        yield queue


async def left(name: str) -> float:
    """The seconds for which a name is still taken."""
    return int(await link.ask(lambda redis: redis.pttl(key(name)))) / 1000


async def test_a_name_is_kept_by_nobody_but_its_owner(queue: Queue) -> None:
    store = RedisStore()
    assert await store.claim("name", "one", 10)
    await store.keep("name", "other", 100)
    assert await left("name") <= 10
    await store.keep("name", "one", 100)
    assert 10 < await left("name") <= 100
    await store.release("name", "one")
    await store.keep("name", "one", 100)
    assert await left("name") < 0


async def test_a_key_is_taken_for_long_once_its_job_is_sent(queue: Queue) -> None:
    await send(queue, MESSAGE)
    long = LONGEST_KEY.total_seconds()
    assert long / 2 < await left(str(key_of(MESSAGE))) <= long


async def test_a_key_is_free_soon_when_redis_was_lost_on_the_way(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose(*_: object) -> None:
        raise RedisAwayError("Redis does not answer")

    monkeypatch.setattr(queue, "send", lose)
    monkeypatch.setattr(queue.store, "release", lose)
    with pytest.raises(RedisAwayError):
        await send(queue, MESSAGE)
    assert 0 < await left(str(key_of(MESSAGE))) <= SENDING.total_seconds()
