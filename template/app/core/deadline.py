"""Until when an answer is of use, wherever in the code one is.

A caller says it by `X-Request-Timeout`: the milliseconds for which it will wait. Not a time of day,
because clocks differ. Calls to other services end with it, and tell them what is left of it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from app.core import context

HEADER = "X-Request-Timeout"
_SANE = re.compile(rb"[0-9]{1,9}")


def remaining() -> float | None:
    """The seconds that are left, 0 when they are over; None when nobody waits for a time."""
    until = context.deadline.get()
    return None if until is None else max(until - monotonic(), 0.0)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give the block so many seconds, or what is left when that is less.

    Nothing is interrupted here: whoever waits for something asks for `remaining`.
    """
    left = remaining()
    token = context.deadline.set(monotonic() + (seconds if left is None else min(left, seconds)))
    try:
        yield
    finally:
        context.deadline.reset(token)


@contextmanager
def unlimited() -> Iterator[None]:
    """Forget the caller's deadline in the block: for work that outlives its request."""
    token = context.deadline.set(None)
    try:
        yield
    finally:
        context.deadline.reset(token)


def told(seconds: float) -> str:
    """Write the header: at least a millisecond, since nobody asks who does not wait."""
    return str(max(int(seconds * 1000), 1))


def parse(value: bytes) -> float | None:
    """Read the header: the moment that it means here, or None when it is nonsense."""
    return monotonic() + int(value) / 1000 if _SANE.fullmatch(value) else None
