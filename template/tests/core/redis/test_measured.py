"""What is counted while Redis answers, and while it does not."""

import pytest

from app.config import Settings
from app.core.application import create_app
from app.core.redis import RedisAwayError, link
from app.core.redis.asking import FAILURES
from tests.core.metrics.scraping import scrape
from tests.core.plugin import caller_of
from tests.core.redis.conftest import leading_to
from tests.core.redis.servers import Server

QUESTIONS = "redis_questions_total"


async def test_questions_are_counted_and_an_outage_shows(
    settings: Settings, server: Server, prefix: str
) -> None:
    app = create_app(leading_to(settings, server.url, prefix))
    async with app.router.lifespan_context(app), caller_of(app, headers={}) as caller:
        await link.ask(lambda redis: redis.ping())
        figures = await scrape(caller)
        assert figures.one(QUESTIONS, outcome="answered") >= 1
        assert figures.one(QUESTIONS, outcome="failed") == 0
        assert figures.one("redis_breaker_open") == 0
        assert figures.one("redis_memory_used_bytes") > 100_000
        assert not list(figures.all("redis_memory_limit_bytes"))
        server.command("CONFIG", "SET", "maxmemory", "256mb")
        app.state.health._asked_at = float("-inf")
        assert (await scrape(caller)).one("redis_memory_limit_bytes") == 256 * 1024**2
        server.kill()
        for _ in range(FAILURES + 2):
            with pytest.raises(RedisAwayError):
                await link.ask(lambda redis: redis.ping())
        app.state.health._asked_at = float("-inf")
        figures = await scrape(caller)
    assert figures.one(QUESTIONS, outcome="failed") >= FAILURES
    assert figures.one(QUESTIONS, outcome="refused") >= 2
    assert figures.one("redis_breaker_open") == 1
    assert figures.one("component_up", component="redis") == 0.5
    assert not list(figures.all("redis_memory_used_bytes"))


async def test_a_redis_that_does_not_tell_its_memory_is_there(
    settings: Settings, server: Server, prefix: str
) -> None:
    server.command("ACL", "SETUSER", "default", "-info")
    app = create_app(leading_to(settings, server.url, prefix))
    async with app.router.lifespan_context(app), caller_of(app, headers={}) as caller:
        figures = await scrape(caller)
    assert figures.one("component_up", component="redis") == 1
    assert not list(figures.all("redis_memory_used_bytes"))
