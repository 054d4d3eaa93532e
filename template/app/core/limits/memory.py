"""Counting requests in this process's memory, of which no caller can take more than its share.

The library's own memory storage looks through all of its keys at every request and keeps as many as
callers make up: with 50,000 of them, a request costs milliseconds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import floor
from time import time
from typing import TYPE_CHECKING

from limits.aio.storage import Storage

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

MOST_KEYS = 50_000
"""Callers that are counted exactly, some 15 MB; as many as write to one process in two windows."""

SHARES = 1024
SWEEP_SECONDS = 1.0


@dataclass(slots=True)
class _Counts:
    """How often a key was counted in the present window and in the one before."""

    window: int
    until: float
    previous: int = 0
    current: int = 0


class BoundedStorage(Storage):
    """Sliding window counters.

    When there are too many keys, new ones share counters, at random: a caller who invents keys
    (every address of a network) is counted too much, never too little, and memory does not grow.
    """

    STORAGE_SCHEME = None

    def __init__(self, most_keys: int = MOST_KEYS, clock: Callable[[], float] = time) -> None:
        super().__init__()
        self._most_keys = most_keys
        self._clock = clock
        self._counts: dict[str, _Counts] = {}
        self._swept_at = float("-inf")

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """Nothing can go wrong."""
        return ()

    async def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        """Count a request, unless it is too many."""
        now = self._clock()
        counts = self._find(key, expiry, now)
        if floor(_weighted(counts, expiry, now)) + amount > limit:
            return False
        counts.current += amount
        return True

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Tell the counts of both windows, each with the seconds for which it still matters."""
        now = self._clock()
        counts = self._find(key, expiry, now)
        left = expiry - now % expiry
        return counts.previous, left, counts.current, left + expiry

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget a key."""
        self._counts.pop(self._name(key), None)

    async def check(self) -> bool:
        """Whether it works."""
        return True

    async def reset(self) -> int | None:
        """Forget everything."""
        forgotten = len(self._counts)
        self._counts.clear()
        return forgotten

    async def clear(self, key: str) -> None:
        """Forget a key."""
        self._counts.pop(key, None)

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Not for fixed windows."""
        raise NotImplementedError

    async def get(self, key: str) -> int:
        """Not for fixed windows."""
        raise NotImplementedError

    async def get_expiry(self, key: str) -> float:
        """Not for fixed windows."""
        raise NotImplementedError

    def _find(self, key: str, expiry: int, now: float) -> _Counts:
        window = int(now // expiry)
        name = self._name(key, now)
        counts = self._counts.get(name)
        if counts is None:
            counts = self._counts[name] = _Counts(window, until=0)
        if counts.window != window:
            counts.previous = counts.current if counts.window == window - 1 else 0
            counts.current = 0
            counts.window = window
        counts.until = (window + 2) * expiry
        return counts

    def _name(self, key: str, now: float | None = None) -> str:
        if key in self._counts or len(self._counts) < self._most_keys:
            return key
        if now is not None and now - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = now
            self._counts = {name: each for name, each in self._counts.items() if each.until > now}
            if len(self._counts) < self._most_keys:
                return key
        # LIMITS/name/CALLER/amount/multiples/granularity: those of one limit share.
        limit, _, *window = key.rsplit("/", 4)
        return "/".join((limit, f"shared-{hash(key) % SHARES}", *window))


def _weighted(counts: _Counts, expiry: int, now: float) -> float:
    """As many as in a window that ends now, if those of the one before came evenly."""
    return counts.previous * (1 - now % expiry / expiry) + counts.current


def build_storage(_: "CoreSettings") -> Storage:
    """Make the storage of an application."""
    return BoundedStorage()
