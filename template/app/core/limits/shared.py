"""Counting requests in Redis, for all processes together.

While Redis is away each process counts for itself, from nothing: a caller gets more than the limit,
as many times as there are processes, and nobody is refused for Redis's sake.

The counting itself is that of the library `limits` for its own Redis storage; only the connection
is the one of this process, with its time limits and its breaker.
"""

from collections.abc import Callable
from contextlib import suppress
from time import time
from typing import TYPE_CHECKING

from limits.aio.storage import Storage
from limits.aio.storage.redis.bridge import RedisBridge

from app.core.limits.memory import MOST_KEYS, BoundedStorage
from app.core.redis.asking import Link, RedisAwayError, link

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


class SharedStorage(BoundedStorage):
    """Sliding window counters in Redis or, while it is away, in memory."""

    def __init__(
        self, link: Link, most_keys: int = MOST_KEYS, clock: Callable[[], float] = time
    ) -> None:
        super().__init__(most_keys, clock)
        self._link = link

    async def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        """Count a request, unless it is too many."""
        if self._link.answers:
            names, values = self._names(key), (limit, expiry, amount)
            script = RedisBridge.SCRIPT_ACQUIRE_SLIDING_WINDOW
            try:
                return bool(await self._link.run(script, names, values))
            except RedisAwayError:
                pass
        return await super().acquire_sliding_window_entry(key, limit, expiry, amount)

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Tell the counts of both windows, each with the seconds for which it still matters."""
        if self._link.answers:
            script = RedisBridge.SCRIPT_SLIDING_WINDOW
            try:
                counts = await self._link.run(script, self._names(key), (expiry,))
            except RedisAwayError:
                pass
            else:
                before, before_left, now, now_left = (max(0, int(each or 0)) for each in counts)
                return before, before_left / 1000, now, now_left / 1000
        return await super().get_sliding_window(key, expiry)

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget a key."""
        await super().clear_sliding_window(key, expiry)
        with suppress(RedisAwayError):
            await self._link.ask(lambda redis: redis.delete(*self._names(key)))

    def _names(self, key: str) -> tuple[str, str]:
        # In braces: both windows of a key are on the same node of a cluster.
        current = self._link.key("limits", f"{{{key}}}")
        return f"{current}:before", current


def build_storage(_: "CoreSettings") -> Storage:
    """Make the storage of an application."""
    return SharedStorage(link)
