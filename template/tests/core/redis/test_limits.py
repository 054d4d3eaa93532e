"""Requests are counted for all processes together and, while Redis is away, by each."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import APIRouter, Depends
from httpx2 import AsyncClient
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from app.config import Settings
from app.core.application import create_app
from app.core.auth import public
from app.core.limits import rate_limit
from app.core.limits.limiter import parse_limits
from app.core.limits.shared import SharedStorage
from app.core.redis.asking import Link
from tests.core.plugin import caller_of
from tests.core.redis.conftest import leading_to
from tests.core.redis.servers import Server

OPEN, GUARDED = "/api/v1/open", "/api/v1/guarded"


@asynccontextmanager
async def service(settings: Settings) -> AsyncIterator[AsyncClient]:
    router = APIRouter()

    @router.get("/open", dependencies=[Depends(rate_limit("3/hour"))])
    @public
    async def opened() -> None: ...

    guarded = [Depends(rate_limit("3/hour", fail_open=False))]
    router.get("/guarded", dependencies=guarded)(opened)
    app = create_app(settings, routers=[router])
    async with app.router.lifespan_context(app), caller_of(app, headers={}) as caller:
        yield caller


async def statuses(caller: AsyncClient, path: str, times: int) -> list[int]:
    return [(await caller.get(path)).status_code for _ in range(times)]


@pytest.mark.parametrize("path", [OPEN, GUARDED])
async def test_processes_count_together(on_redis: Settings, path: str) -> None:
    async with service(on_redis) as caller:
        assert await statuses(caller, path, 2) == [200, 200]
    async with service(on_redis) as caller:
        last = await caller.get(path)
        assert (last.status_code, last.headers["ratelimit-remaining"]) == (200, "0")
        assert 3500 < int(last.headers["ratelimit-reset"]) <= 3600
        assert await statuses(caller, path, 2) == [429, 429]


@pytest.mark.parametrize("path", [OPEN, GUARDED])
async def test_without_redis_each_process_counts(
    settings: Settings, server: Server, prefix: str, path: str
) -> None:
    async with service(leading_to(settings, server.url, prefix)) as caller:
        assert await statuses(caller, path, 2) == [200, 200]
        server.kill()
        assert await statuses(caller, path, 5) == [200, 200, 200, 429, 429]


async def test_two_applications_at_the_same_time(
    settings: Settings, redis_url: str, prefix: str
) -> None:
    one, another = Link(), Link()
    given = leading_to(settings, redis_url, prefix)
    async with one.established(given), another.established(given):
        windows = [SlidingWindowCounterRateLimiter(SharedStorage(each)) for each in (one, another)]
        (item,) = parse_limits("10/hour")
        passed = [await windows[number % 2].hit(item, "x", "caller") for number in range(30)]
        assert sum(passed) == 10
        await windows[0].clear(item, "x", "caller")
        assert await windows[1].hit(item, "x", "caller")
