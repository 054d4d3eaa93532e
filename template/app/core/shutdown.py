"""Leaving without losing a request: first say no to new traffic, then stop listening."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType
from typing import ClassVar

import structlog

log = structlog.get_logger(logger_name="app.shutdown")


class Drain:
    """Delays the server's own reaction to SIGTERM.

    While it lasts, `/ready` answers 503 and every request is still served, so that a load
    balancer can look elsewhere before connections are refused. Works under any server that
    reacts to SIGTERM by a Python signal handler, as uvicorn does. Ctrl-C is never delayed.
    """

    ended_at: ClassVar[float | None] = None
    """When the server of this process began to stop."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.draining = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Stand between SIGTERM and the handler that the server has set."""
        Drain.ended_at = None
        try:
            self._loop = asyncio.get_running_loop()
            self._server_handler = signal.getsignal(signal.SIGTERM)
            signal.signal(signal.SIGTERM, self._begin)
        except ValueError:  # not in the main thread: whoever owns it handles signals
            yield
            return
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, self._server_handler)

    def _begin(self, signum: int, frame: FrameType | None) -> None:
        if self.draining:
            return
        self.draining = True
        self._loop.call_soon_threadsafe(self._wait, signum, frame)

    def _wait(self, signum: int, frame: FrameType | None) -> None:
        # First what must happen: a log that cannot be written must not keep the process alive.
        self._loop.call_later(self.seconds, self._hand_over, signum, frame)
        log.info("draining", seconds=self.seconds)

    def _hand_over(self, signum: int, frame: FrameType | None) -> None:
        Drain.ended_at = monotonic()
        signal.signal(signal.SIGTERM, self._server_handler)
        if callable(self._server_handler):
            self._server_handler(signum, frame)
        else:
            signal.raise_signal(signum)


def left_of(seconds: float) -> float:
    """Give what is left of a time that began when the server began to stop; all if it did not.

    Whoever waits after the server has waited for its requests would otherwise be killed meanwhile.
    """
    if Drain.ended_at is None:
        return seconds
    return max(0.0, Drain.ended_at + seconds - monotonic())
