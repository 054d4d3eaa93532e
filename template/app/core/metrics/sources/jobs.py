"""The jobs: enqueued by this service, done by whoever is measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram

from app.core.jobs.port import enqueued
from app.core.jobs.running import finished
from app.core.metrics.sources.base import Look, nothing_to_look_at

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


@contextmanager
def source(_: "CoreSettings", registry: CollectorRegistry) -> Iterator[Look]:
    """Measure jobs; see `Source`."""
    sent = Counter("jobs_enqueued", "Jobs that were enqueued", ["task"], registry=registry)
    ended = Counter(
        "jobs_finished",
        "Attempts that have ended: succeeded, retried or given_up",
        ("task", "outcome"),
        registry=registry,
    )
    duration = Histogram(
        "job_duration_seconds",
        "Time that an attempt took",
        ["task"],
        registry=registry,
        buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600),
    )

    def has_ended(task: str, outcome: str, seconds: float) -> None:
        ended.labels(task, outcome).inc()
        duration.labels(task).observe(seconds)

    with enqueued.heard_by(lambda task: sent.labels(task).inc()), finished.heard_by(has_ended):
        yield nothing_to_look_at
