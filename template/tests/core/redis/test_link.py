"""The client of this process: addresses, outages and the way back."""

import asyncio

import pytest
from fastapi import FastAPI

from app.config import Settings
from app.core.application import create_app
from app.core.redis import RedisAwayError, client, link
from app.core.redis.link import Refused
from tests.core.plugin import caller_of
from tests.core.redis.conftest import leading_to
from tests.core.redis.servers import Server

PATIENCE = 20


async def status(app: FastAPI) -> tuple[int, str]:
    """What `/ready` says in all, and of Redis."""
    app.state.health._asked_at = float("-inf")
    async with caller_of(app) as caller:
        answer = await caller.get("/ready")
    return answer.status_code, answer.json()["components"]["redis"]["status"]


async def until_it_answers() -> None:
    async with asyncio.timeout(PATIENCE):
        while not link.answers:  # noqa: ASYNC110 - it is what a request does, too
            await asyncio.sleep(0.02)


async def test_a_running_service_has_one_client(on_redis: Settings) -> None:
    app = create_app(on_redis)
    async with app.router.lifespan_context(app):
        assert await client().ping()
        assert await status(app) == (200, "up")
    with pytest.raises(RuntimeError, match="outside"):
        client()


async def test_killed_it_is_degraded_and_used_again_when_it_is_back(
    settings: Settings, server: Server, prefix: str
) -> None:
    app = create_app(leading_to(settings, server.url, prefix))
    async with app.router.lifespan_context(app):
        assert await status(app) == (200, "up")
        server.kill()
        assert await status(app) == (200, "degraded")
        for _ in range(5):
            with pytest.raises(RedisAwayError):
                await link.ask(lambda redis: redis.ping())
        assert not link.answers
        server.start()
        await until_it_answers()
        assert await status(app) == (200, "up")


async def test_a_refusal_is_an_answer(linked: None) -> None:
    await link.ask(lambda redis: redis.lpush(link.key("list"), "x"))
    for _ in range(5):
        with pytest.raises(Refused):
            await link.ask(lambda redis: redis.incr(link.key("list")))
    with pytest.raises(TypeError):
        await link.ask(lambda redis: redis.set(link.key("x"), object()))
    assert link.answers
