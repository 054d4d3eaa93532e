"""The figures of a service that runs."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client import (
    CollectorRegistry,
    Metric,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app.core.health import DetailedComponent, Status
from app.core.jobs.attendance import going_on
from app.core.metrics.processes import directory, everybody
from app.core.metrics.sources.base import Look
from app.core.metrics.sources.every import SOURCES

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

log = structlog.get_logger(logger_name="app.metrics")

LOOK_SECONDS = 5.0
"""How old the gauges of another process may be: shorter than from one scrape to the next."""
_STATES: Mapping[Status, float] = {"up": 1.0, "degraded": 0.5, "down": 0.0}

disable_created_metrics()


class Given(Collector):
    """Figures that are there already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = tuple(metrics)

    def collect(self) -> Iterable[Metric]:
        """Give them."""
        return self._metrics


class Measurements:
    """The instruments of this process, and what they have measured."""

    def __init__(
        self, settings: "CoreSettings", looks: Sequence[Look], own: CollectorRegistry
    ) -> None:
        self._settings = settings
        self._looks = looks
        self._own = own

    def look(self) -> None:
        """Set the gauges of this process."""
        for look in self._looks:
            look()

    async def keep_looking(self) -> None:
        """Do so again and again, for another process that is asked."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def text(self, components: Mapping[str, DetailedComponent]) -> bytes:
        """Write everything down as Prometheus reads it.

        Args:
            components: what health says of each.
        """
        self.look()
        return await asyncio.to_thread(written, self._settings, self._own, _states_of(components))


def written(settings: "CoreSettings", own: CollectorRegistry, more: Iterable[Metric] = ()) -> bytes:
    """Write down what all processes have counted, and more, as Prometheus reads it."""
    found = everybody(own)
    info = GaugeMetricFamily(
        "app_info", "The version that runs, always 1", labels=("version", "environment")
    )
    info.add_metric((settings.app_version, settings.environment), 1)
    found.register(Given((info, *more)))
    return generate_latest(found)


def _states_of(components: Mapping[str, DetailedComponent]) -> list[Metric]:
    """Give what is the same for all processes, as health has found it."""
    up = GaugeMetricFamily(
        "component_up",
        "Whether it answers: 1, 0 or, when it is degraded, 0.5",
        labels=["component"],
    )
    for name, component in components.items():
        up.add_metric([name], _STATES[component.status])
    redis = components["redis"].details if "redis" in components else {}
    return [up, *_of_workers(components["jobs"].details), *_of_redis(redis)]


def _of_workers(found: Mapping[str, Any]) -> list[Metric]:
    if "workers" not in found:
        return []  # there are none, or nobody can tell
    return [
        GaugeMetricFamily("jobs_waiting", "Jobs that nobody does yet", value=found["waiting"]),
        GaugeMetricFamily("job_workers", "Workers that are alive", value=found["workers"]),
    ]


def _of_redis(found: Mapping[str, Any]) -> list[Metric]:
    figures = {
        "memory_bytes": ("redis_memory_used_bytes", "Memory that Redis uses for all that it keeps"),
        "memory_limit_bytes": ("redis_memory_limit_bytes", "Memory that Redis may use"),
    }
    return [
        GaugeMetricFamily(*figures[name], value=found[name]) for name in figures if name in found
    ]


_running: list[Measurements] = []


@asynccontextmanager
async def measuring(settings: "CoreSettings") -> AsyncIterator[None]:
    """Measure in this block; the running service is inside of one."""
    own = CollectorRegistry()
    async with AsyncExitStack() as stack:
        looks = [stack.enter_context(source(settings, own)) for source in SOURCES]
        measurements = Measurements(settings, looks, own)
        if directory() is not None:
            await stack.enter_async_context(going_on(measurements.keep_looking))
        elif settings.web_concurrency > 1:
            log.warning("each process counts alone: start them by `python -m app`")
        _running.append(measurements)
        try:
            yield
        finally:
            _running.remove(measurements)


def current() -> Measurements:
    """Give those of the running service.

    Raises:
        RuntimeError: it does not run.
    """
    if not _running:
        raise RuntimeError("figures are asked for outside of the application's lifespan")
    return _running[-1]
