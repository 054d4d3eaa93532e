"""The limits of how often callers may ask."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter

from app.core.limits.limiter import exceeded
from app.core.metrics.sources.base import Look, nothing_to_look_at

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


@contextmanager
def source(_: "CoreSettings", registry: CollectorRegistry) -> Iterator[Look]:
    """Count requests that are too many; see `Source`."""
    counter = Counter(
        "rate_limit_exceeded", "Requests that were refused for being too many", registry=registry
    )
    with exceeded.heard_by(counter.inc):
        yield nothing_to_look_at
