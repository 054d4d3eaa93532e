import asyncio

from fastapi import FastAPI
from httpx2 import AsyncClient
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from app.config import Settings
from app.core.application import create_app
from tests.core.metrics.conftest import router
from tests.core.metrics.scraping import Figures, scrape
from tests.core.plugin import caller_of, with_changes

COUNT = "http_request_duration_seconds_count"


async def test_it_is_plain_text_for_prometheus(caller: AsyncClient) -> None:
    answer = await caller.get("/metrics")
    assert answer.headers["content-type"] == CONTENT_TYPE_PLAIN_0_0_4
    assert answer.text.endswith("\n")


async def test_requests_are_counted_by_the_template_of_their_route(
    caller: AsyncClient, settings: Settings
) -> None:
    route = f"{settings.api_v1_str}/things/{{thing}}"
    for thing in ("one", "two", "broken"):
        await caller.get(f"{settings.api_v1_str}/things/{thing}")
    await caller.delete(f"{settings.api_v1_str}/things/one")
    figures = await scrape(caller)
    assert figures.one(COUNT, method="GET", route=route, status="200") == 2
    assert figures.one(COUNT, method="GET", route=route, status="500") == 1
    assert figures.one(COUNT, method="DELETE", status="405") == 1
    assert 0 < figures.one("http_request_duration_seconds_sum", status="200") < 60


async def test_a_caller_in_a_hurry_is_no_failure_of_ours(
    caller: AsyncClient, settings: Settings
) -> None:
    for milliseconds in ("0", "60000"):
        given = {"X-Request-Timeout": milliseconds}
        answer = await caller.get(f"{settings.api_v1_str}/things/late", headers=given)
        assert answer.status_code == 504
    figures = await scrape(caller)
    assert figures.one(COUNT, status="499") == 1
    assert figures.one(COUNT, status="504") == 1


async def test_callers_cannot_make_series(caller: AsyncClient) -> None:
    for number in range(5):
        await caller.request(f"FETCH{number}", f"/no/such/path/{number}")
    figures = await scrape(caller)
    assert figures.one(COUNT) == 5
    assert figures.one(COUNT, method="other", route="unmatched", status="404") == 5


async def test_probes_and_scrapes_are_not_measured(caller: AsyncClient) -> None:
    for path in ("/health", "/ready", "/metrics", "/no/such/path"):
        await caller.get(path)
    assert (await scrape(caller)).sum(COUNT) == 1


async def test_requests_in_progress_are_counted(caller: AsyncClient, settings: Settings) -> None:
    assert (await scrape(caller)).one("http_requests_in_progress") == 0
    waiting = asyncio.create_task(caller.get(f"{settings.api_v1_str}/waiting"))
    async with asyncio.timeout(20):
        while (await scrape(caller)).one("http_requests_in_progress") != 1:  # noqa: ASYNC110
            await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    figures = await scrape(caller)
    assert figures.one("http_requests_in_progress") == 0
    assert figures.one(COUNT, status="499") == 1


async def test_it_says_what_runs_and_how_it_is(measured: FastAPI, caller: AsyncClient) -> None:
    settings: Settings = measured.state.settings
    figures = await scrape(caller)
    labels = {"version": settings.app_version, "environment": settings.environment}
    assert figures.one("app_info", **labels) == 1
    components = (await caller.get("/ready")).json()["components"]
    state = {"up": 1, "degraded": 0.5, "down": 0}
    assert components
    for name, component in components.items():
        assert figures.one("component_up", component=name) == state[component["status"]]
    assert figures.one("process_resident_memory_bytes") > 0
    assert "python_info" in figures.families


async def test_figures_are_for_operators(measured: FastAPI) -> None:
    async with caller_of(measured, "203.0.113.9", headers={}) as stranger:
        refused = await stranger.get("/metrics")
    assert refused.status_code == 403
    assert "app_info" not in refused.text


async def test_prometheus_needs_neither_the_host_name_nor_patience(settings: Settings) -> None:
    changed = with_changes(
        settings, allowed_hosts=("api.example.com",), rate_limit_default="2/minute"
    )
    app = create_app(changed, routers=[router])
    async with app.router.lifespan_context(app), caller_of(app, headers={}) as caller:
        for _ in range(4):
            answer = await caller.get("/metrics", headers={"Host": "10.0.0.7:8000"})
            assert answer.status_code == 200
        assert (await caller.get("/no/such/path")).status_code == 400
    assert "http_requests_in_progress" in Figures(answer.text).families
