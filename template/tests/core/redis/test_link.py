"""The client of this process: outages, and the way back."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from fastapi import FastAPI
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException
from structlog.testing import CapturingLogger

from app.config import Settings
from app.core.application import create_app
from app.core.redis import RedisAwayError, asking, client, link
from app.core.redis.asking import Refused
from tests.core.plugin import caller_of, with_changes
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


async def test_that_it_is_off_is_told(settings: Settings) -> None:
    async with link.established(with_changes(settings, redis_enabled=False)):
        with pytest.raises(RedisAwayError, match="or it is off"):
            await link.probe()


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


async def test_a_breaker_that_opens_while_redis_is_looked_for_does_not_stay_open(
    settings: Settings, redis_url: str, prefix: str
) -> None:
    found, settled = asyncio.Event(), asyncio.Event()

    async def settle(_: object) -> None:
        found.set()
        await settled.wait()

    async def fail() -> None:
        with pytest.raises(RedisAwayError):
            await link.ask(lambda _: gone())

    async def gone() -> None:
        raise RedisConnectionError("gone")

    async with link.established(leading_to(settings, redis_url, prefix)):
        link.when_back(settle)
        await fail()
        await found.wait()
        for _ in range(asking.FAILURES - 1):
            await fail()
        assert not link.answers
        settled.set()
        await until_it_answers()


@pytest.mark.parametrize(
    "error",
    [RedisConnectionError("gone"), RedisClusterException("no node"), OSError("no route")],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_the_client_raises_is_redis_being_away(
    linked: None, error: Exception
) -> None:
    async def question(_: object) -> None:
        raise error

    with pytest.raises(RedisAwayError):
        await link.ask(question)


async def test_a_refusal_is_an_answer(linked: None) -> None:
    await link.ask(lambda redis: redis.lpush(link.key("list"), "x"))
    for _ in range(5):
        with pytest.raises(Refused):
            await link.ask(lambda redis: redis.incr(link.key("list")))
    with pytest.raises(TypeError):
        await link.ask(lambda redis: redis.set(link.key("x"), object()))
    assert link.answers


async def test_it_says_once_that_redis_is_away_and_once_that_it_is_back(
    settings: Settings, server: Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = CapturingLogger()
    monkeypatch.setattr(asking, "log", said)
    async with link.established(leading_to(settings, server.url, prefix)):
        for _ in range(2):
            server.kill()
            for _ in range(500):
                with pytest.raises(RedisAwayError):
                    await link.ask(lambda redis: redis.ping())
            server.start()
            await until_it_answers()
            await link.ask(lambda redis: redis.ping())
    assert [call.args[0] for call in said.calls] == ["redis is away", "redis is back"] * 2


async def test_who_accepts_and_never_answers_is_not_waited_for(
    settings: Settings, prefix: str
) -> None:
    taken: list[Any] = []

    async def accept(*connection: asyncio.StreamReader | asyncio.StreamWriter) -> None:
        taken.append(connection)

    silent = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    app = create_app(leading_to(settings, f"redis://127.0.0.1:{port}", prefix, redis_timeout=0.05))
    clock = asyncio.get_running_loop().time
    async with app.router.lifespan_context(app):
        started = clock()
        for _ in range(500):
            with pytest.raises(RedisAwayError):
                await link.ask(lambda redis: redis.ping())
        # Three have waited, each for 0.1 s at most; all would take 50 s.
        assert clock() - started < PATIENCE
        assert await status(app) == (200, "degraded")
    assert len(taken) <= 10
    for _, writer in taken:
        writer.close()
    silent.close()


async def test_without_an_address_it_is_degraded(settings: Settings) -> None:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        assert not link.configured
        assert await status(app) == (200, "degraded")
        with pytest.raises(RedisAwayError):
            await link.ask(lambda redis: redis.ping())


async def test_more_questions_than_connections_wait_for_each_other(
    settings: Settings, redis_url: str, prefix: str
) -> None:
    async with link.established(leading_to(settings, redis_url, prefix, redis_max_connections=3)):
        key = link.key("n")
        asked = (link.ask(lambda redis: redis.incr(key)) for _ in range(200))
        assert sorted(await asyncio.gather(*asked)) == list(range(1, 201))


async def test_that_all_connections_are_in_use_says_nothing_about_redis(
    settings: Settings, redis_url: str, prefix: str
) -> None:
    given = leading_to(settings, redis_url, prefix, redis_max_connections=1, redis_timeout=0.05)
    back, has_place = asyncio.Event(), False

    async def settle(_: object) -> None:
        nonlocal has_place
        has_place = link._places.locked()
        back.set()

    async with link.established(given), asyncio.timeout(PATIENCE):
        link.when_back(settle)
        async with link._places:
            for _ in range(asking.FAILURES):
                with pytest.raises(RedisAwayError):
                    await link.ask(lambda redis: redis.ping())
        assert link.answers
        await back.wait()  # what could not be asked is made up for, within the same bounds
        assert has_place


async def test_a_question_without_an_end_counts_as_a_failure(
    settings: Settings, redis_url: str, prefix: str
) -> None:
    async with link.established(leading_to(settings, redis_url, prefix, redis_timeout=0.05)):
        asked = (link.ask(lambda _: asyncio.Event().wait()) for _ in range(asking.FAILURES))
        ends = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(end) for end in ends] == [RedisAwayError] * asking.FAILURES
        assert not link.answers


async def test_who_was_cancelled_can_ask_on_the_way_out(linked: None) -> None:
    answered: list[bool] = []

    async def look_first(redis: Any) -> None:
        with suppress(TimeoutError):  # as redis-py 5 does, to see whether a connection is usable
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        answered.append(await redis.ping())

    async def clean_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await link.ask(look_first)

    task = asyncio.create_task(clean_up())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert answered == [True]
