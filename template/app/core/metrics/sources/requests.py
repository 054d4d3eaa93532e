"""The requests that are served: how many, how long, with what outcome."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge, Histogram

from app.core.metrics.sources.base import Look
from app.core.web.request_pass import request_began, request_ended

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
"""Stands for methods that callers make up: each label is a series that is kept."""


@contextmanager
def source(_: "CoreSettings", registry: CollectorRegistry) -> Iterator[Look]:
    """Measure requests; see `Source`. WebSockets last as they like, and are no requests."""
    duration = Histogram(
        "http_request_duration_seconds",
        "Time from the first byte of a request to the last one of its answer",
        ("method", "route", "status"),
        registry=registry,
        buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    )
    in_progress = Gauge(
        "http_requests_in_progress",
        "Requests that are being served",
        registry=registry,
        multiprocess_mode="livesum",
    )
    children: dict[tuple[str, str, int], Histogram] = {}

    running = 0

    def began() -> None:
        nonlocal running
        running += 1

    def ended(method: str, route: str, status: int, seconds: float) -> None:
        nonlocal running
        running -= 1
        key = method if method in METHODS else OTHER, route, status
        if (child := children.get(key)) is None:
            child = children[key] = duration.labels(key[0], route, str(status))
        child.observe(seconds)

    with request_began.heard_by(began), request_ended.heard_by(ended):
        yield lambda: in_progress.set(running)
