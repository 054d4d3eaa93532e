"""The cache: whether what is wanted is there."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter

from app.core.cache.port import looked_up
from app.core.metrics.sources.base import Look, nothing_to_look_at

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


@contextmanager
def source(_: "CoreSettings", registry: CollectorRegistry) -> Iterator[Look]:
    """Count hits and misses; see `Source`."""
    requests = Counter(
        "cache_requests", "Values that were wanted of the cache", ["outcome"], registry=registry
    )
    hit, miss = requests.labels("hit"), requests.labels("miss")

    def count(found: bool) -> None:
        (hit if found else miss).inc()

    with looked_up.heard_by(count):
        yield nothing_to_look_at
