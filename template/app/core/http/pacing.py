"""How often something may be done: retries, and calls to a service that counts them."""

from collections.abc import Callable
from time import monotonic


class RetryBudget:
    """Keeps retries a small part of all calls, so that they never multiply an outage.

    Each call earns a part of a retry, and each retry spends one (as Finagle's `RetryBudget`).

    Args:
        spare: retries that may be saved up; there are so many at the start.
        share: what a call earns.
    """

    def __init__(self, spare: float = 10.0, share: float = 0.1) -> None:
        self._spare = spare
        self._share = share
        self.left = spare

    def earn(self) -> None:
        """Count a call."""
        self.left = min(self.left + self._share, self._spare)

    def spend(self) -> bool:
        """Take a retry, if there is one left."""
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Pace:
    """Spreads calls over time, in this process (the generic cell rate algorithm, ITU-T I.371).

    Args:
        per_second: calls in the long run.
        burst: calls at once after a rest.
        clock: seconds of a clock that never goes back.
    """

    def __init__(
        self, per_second: float, burst: int = 1, clock: Callable[[], float] = monotonic
    ) -> None:
        self._interval = 1 / per_second
        self._slack = (burst - 1) * self._interval
        self._clock = clock
        self._next = float("-inf")

    def reserve(self, longest: float) -> float | None:
        """Take the next turn; gives the seconds until then, or None when they are too many."""
        now = self._clock()
        turn = max(self._next, now)
        wait = max(turn - self._slack - now, 0.0)
        if wait > longest:
            return None
        self._next = turn + self._interval
        return wait
