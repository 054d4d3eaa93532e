"""What became of the calls to other services, counted in one place."""

from collections import Counter
from enum import StrEnum

from app.core.signals import Signal


class Outcome(StrEnum):
    """What became of one attempt, or why there was none."""

    ANSWERED = "answered"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    USELESS = "useless"
    """Answered by something that was refused: too large, or from elsewhere."""
    ABANDONED = "abandoned"
    """Our own caller waits no longer."""
    BREAKER_OPEN = "breaker_open"
    TOO_MANY = "too_many"
    RETRIED = "retried"


counts: Counter[tuple[str, Outcome]] = Counter()
"""How often, by upstream and outcome, since the process began."""


counted: Signal[[str, Outcome, float]] = Signal()
"""Told of each: the upstream, the outcome, and how many seconds it took."""


def count(upstream: str, outcome: Outcome, seconds: float = 0.0) -> None:
    """Count what became of an attempt."""
    counts[upstream, outcome] += 1
    counted(upstream, outcome, seconds)


def counts_of(upstream: str) -> dict[str, int]:
    """What became of the calls to one upstream."""
    return {outcome.value: counts[upstream, outcome] for outcome in Outcome}
