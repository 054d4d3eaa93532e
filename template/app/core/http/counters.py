"""What became of the calls to other services, counted in one place."""

from collections import Counter
from enum import StrEnum


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


def counts_of(upstream: str) -> dict[str, int]:
    """What became of the calls to one upstream."""
    return {outcome.value: counts[upstream, outcome] for outcome in Outcome}
