"""Each figure, by what it counts."""

import os
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from fastapi import APIRouter, Depends, FastAPI
from httpx2 import AsyncClient
from prometheus_client import REGISTRY, CollectorRegistry, Counter, generate_latest, values
from sqlalchemy import text

from app.config import Settings
from app.core import deadline
from app.core.application import create_app
from app.core.auth import public
from app.core.cache import cache
from app.core.database.layout import DATABASES
from app.core.http import Upstream, UpstreamError
from app.core.jobs import Retries, enqueue, task
from app.core.jobs.port import sending_to
from app.core.limits import rate_limit
from app.core.metrics import measurements
from app.core.metrics.processes import counted_together, everybody
from app.core.metrics.sources import databases
from tests.core.jobs.collected import Collected
from tests.core.metrics.scraping import Figures, scrape
from tests.core.neighbour import Neighbour, answering, neighbour
from tests.core.plugin import Addresses, caller_of, with_changes

BREAKER_FAILURES = 2


@task(retries=Retries(times=1))
async def succeed_or_fail(how: str) -> None:
    """Do as the argument says."""
    if how == "fail":
        raise RuntimeError(how)


@pytest.fixture
async def other() -> AsyncIterator[Neighbour]:
    async with neighbour() as running:
        yield running


async def test_connections_are_counted(measured: FastAPI, caller: AsyncClient) -> None:
    settings: Settings = measured.state.settings
    most = settings.db_pool_size + settings.db_max_overflow
    for database in DATABASES:
        async with database.engine.connect():
            figures = await scrape(caller)
        given = {"database": database.name}
        assert figures.one("database_pool_connections", state="in_use", **given) == 1
        assert figures.one("database_pool_connections", state="idle", **given) == 0
        assert figures.one("database_pool_limit", **given) == most
        assert figures.one("database_pool_use_ratio", **given) == 1 / most
        figures = await scrape(caller)
        assert figures.one("database_pool_connections", state="in_use", **given) == 0
        assert figures.one("database_pool_connections", state="idle", **given) == 1


async def test_of_several_processes_the_one_nearest_to_its_limit_counts(
    measured: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All together have connections left, which are of no use to those who wait for this one's."""
    settings: Settings = measured.state.settings
    engine = DATABASES[0].engine
    with counted_together(), monkeypatch.context() as patched:

        def look_as(process: int) -> None:
            patched.setattr(values, "ValueClass", values.MultiProcessValue(lambda: process))
            with databases.source(settings, CollectorRegistry()) as look:
                look()

        async with engine.connect():
            async with engine.connect():
                look_as(os.getpid())
            look_as(os.getppid())
        figures = Figures(generate_latest(everybody(CollectorRegistry())).decode())
    most = settings.db_pool_size + settings.db_max_overflow
    name = DATABASES[0].name
    assert figures.one("database_pool_use_ratio", database=name) == 2 / most


async def test_a_pool_that_keeps_none_has_no_figures(settings: Settings) -> None:
    app = create_app(with_changes(settings, db_use_null_pool=True))
    async with app.router.lifespan_context(app), caller_of(app, headers={}) as caller:
        figures = await scrape(caller)
    assert not list(figures.all("database_pool_limit"))
    assert not list(figures.all("database_pool_use_ratio"))


async def test_connections_to_a_replica_are_counted_apart(
    settings: Settings, addresses: Addresses
) -> None:
    database = DATABASES[0]
    replica = {database.replica_variable: addresses[database.variable]}
    app = create_app(with_changes(settings, **replica))
    async with (
        app.router.lifespan_context(app),
        caller_of(app, headers={}) as caller,
        database.read_session_context() as session,
    ):
        await session.execute(text("SELECT 1"))
        figures = await scrape(caller)
    for name, in_use in ((database.name, 0), (database.replica_name, 1)):
        assert figures.one("database_pool_connections", state="in_use", database=name) == in_use
        assert figures.one("database_pool_limit", database=name) > 0


async def test_hits_and_misses_are_counted(caller: AsyncClient) -> None:
    key = uuid4().hex

    async def make() -> int:
        return 1

    for _ in range(3):
        await cache.remember(key, make, seconds=60)
    await cache.get(f"{key}/other")
    figures = await scrape(caller)
    assert figures.one("cache_requests_total", outcome="hit") == 2
    assert figures.one("cache_requests_total", outcome="miss") == 2


async def test_jobs_are_counted_by_what_becomes_of_them(caller: AsyncClient) -> None:
    with sending_to(jobs := Collected()):
        for how in ("succeed", "succeed", "fail"):
            await enqueue(succeed_or_fail, how)
        await jobs.run_all()
    figures = await scrape(caller)
    name = {"task": succeed_or_fail.name}
    assert figures.one("jobs_enqueued_total", **name) == 3
    assert figures.one("jobs_finished_total", outcome="succeeded", **name) == 2
    assert figures.one("jobs_finished_total", outcome="retried", **name) == 1
    assert figures.one("jobs_finished_total", outcome="given_up", **name) == 1
    assert figures.one("job_duration_seconds_count", **name) == 4


async def test_calls_and_their_breaker_are_measured(
    measured: FastAPI, caller: AsyncClient, other: Neighbour
) -> None:
    name = f"other-{uuid4().hex}"
    upstream = Upstream(
        name, other.url, private=True, breaker_failures=BREAKER_FAILURES, breaker_rest=60
    )
    await upstream.request("POST", "/x")
    assert (await scrape(caller)).one("upstream_breaker_state", upstream=name) == 0
    with deadline.within(0), pytest.raises(UpstreamError):
        await upstream.request("POST", "/x")
    other.reaction = answering(500)
    for _ in range(BREAKER_FAILURES + 1):
        with pytest.raises(UpstreamError):
            await upstream.request("POST", "/x")
    figures = await scrape(caller)
    count = "upstream_request_duration_seconds_count"
    assert figures.one(count, upstream=name, outcome="answered") == 1
    assert figures.one(count, upstream=name, outcome="failed") == BREAKER_FAILURES
    assert figures.one(count, upstream=name, outcome="refused") == 1
    assert figures.one(count, upstream=name, outcome="abandoned") == 1
    assert figures.one("upstream_breaker_state", upstream=name) == 2


async def test_requests_that_are_too_many_are_counted(settings: Settings) -> None:
    router = APIRouter()

    @router.get(f"/{uuid4().hex}", dependencies=[Depends(rate_limit("1/day"))])
    @public
    async def limited() -> None:
        """Answer once."""

    app = create_app(settings, routers=[router])
    path = f"{settings.api_v1_str}{router.routes[0].path}"  # type: ignore[attr-defined]
    async with app.router.lifespan_context(app), caller_of(app, headers={}) as caller:
        assert (await scrape(caller)).one("rate_limit_exceeded_total") == 0
        statuses = [(await caller.get(path)).status_code for _ in range(3)]
        assert statuses == [200, 429, 429]
        assert (await scrape(caller)).one("rate_limit_exceeded_total") == 2


async def test_figures_of_the_service_itself_are_among_them(caller: AsyncClient) -> None:
    orders = Counter("orders_of_a_test", "Orders taken")
    orders.inc(3)
    assert (await scrape(caller)).one("orders_of_a_test_total") == 3
    REGISTRY.unregister(orders)


async def test_without_a_worker_nobody_waits_for_one(caller: AsyncClient) -> None:
    figures = await scrape(caller)
    assert not list(figures.all("job_workers"))


def test_without_the_application_there_are_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "_running", [])
    with pytest.raises(RuntimeError, match="outside of the application's lifespan"):
        measurements.current()
