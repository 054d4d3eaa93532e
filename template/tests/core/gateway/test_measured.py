"""Upstreams of the gateway are measured as those of the service's own calls are."""

import httpx2

from tests.core.gateway.conftest import Gateway
from tests.core.metrics.scraping import Figures

COUNT = "upstream_request_duration_seconds_count"


def figures(gateway: Gateway) -> Figures:
    return Figures(httpx2.get(f"{gateway.server.url}/metrics", timeout=10).text)


def test_what_is_passed_on_is_measured(gateway: Gateway) -> None:
    before = figures(gateway)
    assert gateway.client.get("/app/answer").status_code == 200
    assert gateway.client.get("/dead/x").status_code == 503
    gateway.upstream.raw = b"HTTP/1.1 502 Bad\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    assert gateway.client.get("/raw/x").status_code == 502
    after = figures(gateway)
    for upstream, outcome in (("app", "answered"), ("dead", "failed"), ("raw", "failed")):
        labels = {"upstream": upstream, "outcome": outcome}
        assert after.one(COUNT, **labels) == before.sum(COUNT, **labels) + 1
    assert after.one("upstream_breaker_state", upstream="app") == 0


def test_an_open_breaker_shows(gateway: Gateway) -> None:
    gateway.upstream.raw = b""
    statuses = [gateway.client.get("/fallen/x").status_code for _ in range(3)]
    assert statuses == [502, 502, 503]
    found = figures(gateway)
    assert found.one("upstream_breaker_state", upstream="fallen") in (1, 2)
    assert found.one(COUNT, upstream="fallen", outcome="refused") >= 1
