"""Stop asking what does not answer: a circuit breaker.

Closed, every attempt passes. After so many failures in a row it opens, and attempts are refused at
once. When it has rested it is half open: one attempt passes as a probe, and what becomes of it
closes the breaker or opens it anew. A probe that takes longer than the rest keeps nobody out: how
long it takes may be its caller's doing.

The pattern: Michael T. Nygard, *Release It!*, "Circuit Breaker".
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from time import monotonic

import structlog

log = structlog.get_logger(logger_name="app.breaker")


class State(StrEnum):
    """Whether attempts pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerOpenError(Exception):
    """The attempt was not made: the last ones have failed.

    Attributes:
        name: what was to be asked.
        retry_after: seconds until the next attempt may pass.
    """

    def __init__(self, name: str, retry_after: float) -> None:
        super().__init__(f"{name} does not answer, and is not asked for {retry_after:.1f} s")
        self.name = name
        self.retry_after = retry_after


class Breaker:
    """Counts the failures in a row of one thing that is asked. Not for several threads.

    Args:
        name: what is asked, for logs and reports.
        failures: so many in a row open it.
        rest: seconds until a probe may pass.
        counted: exceptions that are failures; others say that there was an answer.
        silent: exceptions that say nothing, although they may be of a kind that is counted.
        clock: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        name: str,
        *,
        failures: int = 5,
        rest: float = 10.0,
        counted: tuple[type[Exception], ...] = (Exception,),
        silent: tuple[type[Exception], ...] = (),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.name = name
        self.failures_in_a_row = 0
        self._failures = failures
        self._rest = rest
        self._counted = counted
        self._silent = silent
        self._clock = clock
        self._open_until: float | None = None
        self._probing_until = float("-inf")

    @property
    def state(self) -> State:
        """Whether the next attempt passes."""
        if self._open_until is None:
            return State.CLOSED
        if self._clock() < max(self._open_until, self._probing_until):
            return State.OPEN
        return State.HALF_OPEN

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Make an attempt in this block; what it raises is the verdict.

        An attempt that is cancelled says nothing. One that began before the breaker opened does not
        close it.

        Raises:
            BreakerOpenError: the block was not entered.
        """
        state = self.state
        if state is State.OPEN:
            raise BreakerOpenError(self.name, self.retry_after)
        probe = state is State.HALF_OPEN
        if probe:
            self._probing_until = self._clock() + self._rest
        try:
            yield
        except self._silent:
            raise
        except self._counted:
            self.failed(probe=probe)
            raise
        except Exception:
            self.succeeded(probe=probe)
            raise
        else:
            self.succeeded(probe=probe)
        finally:
            if probe:
                self._probing_until = float("-inf")

    @property
    def retry_after(self) -> float:
        """Seconds until an attempt may pass; at least a moment while a probe is under way."""
        if self._open_until is None:
            return 0.0
        return max(self._open_until - self._clock(), 0.1)

    def failed(self, *, probe: bool = False) -> None:
        """Count a failure."""
        self.failures_in_a_row += 1
        closed = self._open_until is None
        opens = self.failures_in_a_row >= self._failures if closed else probe
        if opens:
            self._open_until = self._clock() + self._rest
            if closed:
                log.warning("breaker opened", breaker=self.name, failures=self.failures_in_a_row)

    def succeeded(self, *, probe: bool = False) -> None:
        """Count an answer."""
        if self._open_until is None:
            self.failures_in_a_row = 0
        elif probe:
            self.failures_in_a_row = 0
            self._open_until = None
            log.info("breaker closed", breaker=self.name)
