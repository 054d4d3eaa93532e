"""Redis: whether it answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge

from app.core.metrics.sources.base import Look
from app.core.redis.asking import asked, link

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


@contextmanager
def source(_: "CoreSettings", registry: CollectorRegistry) -> Iterator[Look]:
    """Measure questions to Redis; see `Source`."""
    questions = Counter(
        "redis_questions",
        "Questions to Redis: answered, failed, or refused since the last ones have failed",
        ["outcome"],
        registry=registry,
    )
    children = {outcome: questions.labels(outcome) for outcome in ("answered", "failed", "refused")}
    is_open = Gauge(
        "redis_breaker_open",
        "Whether Redis is not asked, since it does not answer",
        registry=registry,
        multiprocess_mode="livemax",
    )

    def look() -> None:
        is_open.set(link.configured and not link.answers)

    with asked.heard_by(lambda outcome: children[outcome].inc()):
        yield look
