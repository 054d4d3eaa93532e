"""Values and locks in this process's memory, and no more of them than fit.

Each process has its own: another one sees neither what was kept nor that it was removed.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic, time_ns

from app.core.cache.stores.base import LEASE, NoNumberError

MOST_ENTRIES = 20_000
MOST_BYTES = 32 * 1024 * 1024
_OVERHEAD = 200
"""Bytes that an entry takes besides its key and its value, roughly."""


@dataclass(slots=True)
class _Entry:
    value: bytes
    until: float


class MemoryStore:
    """Values; those that were not used for the longest time make room for new ones."""

    def __init__(
        self,
        most_entries: int = MOST_ENTRIES,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Read several keys at once."""
        return [self._find(key) for key in keys]

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        """Write a key."""
        self._put(key, value, self._clock() + seconds)

    async def add(self, key: str, value: bytes, seconds: float) -> bytes:
        """Write a key unless it is there, and give what is there now."""
        found = self._find(key)
        if found is None:
            self._put(key, value, self._clock() + seconds)
        return value if found is None else found

    async def lease(self, key: str, token: bytes, seconds: float) -> bool:
        """Say who may fill a key; False when it is somebody else."""
        return await self.add(key + LEASE, token, seconds) == token

    async def renew(self, key: str, token: bytes, seconds: float) -> bool:
        """Keep a lease for so long from now on; False when it is not this one any more."""
        if self._find(key + LEASE) != token:
            return False
        self._put(key + LEASE, token, self._clock() + seconds)
        return True

    async def fill(self, key: str, value: bytes | None, seconds: float, token: bytes) -> bool:
        """Write a key, or nothing, and end its lease, if the lease is still this one."""
        if self._find(key + LEASE) != token:
            return False
        self._drop(key + LEASE)
        if value is not None:
            self._put(key, value, self._clock() + seconds)
        return True

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove keys and their leases."""
        for key in keys:
            self._drop(key)
            self._drop(key + LEASE)

    async def increment(self, key: str, amount: int, seconds: float) -> int:
        """Count a key up; the time runs from the first time on.

        Raises:
            NoNumberError: there is something else.
        """
        try:
            total = int(self._find(key) or 0) + amount
        except ValueError:
            raise NoNumberError("what is kept there is no whole number") from None
        until = self._entries[key].until if key in self._entries else self._clock() + seconds
        self._put(key, b"%d" % total, until)
        return total

    async def clear(self) -> None:
        """Remove everything."""
        self.forget()

    def forget(self) -> None:
        """Remove everything, at once."""
        self._entries.clear()
        self._bytes = 0

    def _find(self, key: str) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.until <= self._clock():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    def _put(self, key: str, value: bytes, until: float) -> None:
        self._drop(key)
        if _size(key, value) > self._most_bytes:
            return
        self._entries[key] = _Entry(value, until)
        self._bytes += _size(key, value)
        while len(self._entries) > self._most_entries or self._bytes > self._most_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _size(key, entry.value)


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value) + _OVERHEAD


class MemoryLocks:
    """Locks between the tasks of this process."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._held: dict[str, tuple[str, float, int]] = {}
        self._last = 0

    async def take(self, name: str, owner: str, seconds: float) -> int | None:
        """Give a number greater than that of every earlier owner; None when it is taken."""
        now = self._clock()
        self._held = {held: each for held, each in self._held.items() if each[1] > now}
        if name in self._held:
            return None
        # Microseconds, as in Redis: the numbers go on when a service changes to it.
        self._last = max(self._last + 1, time_ns() // 1000)
        self._held[name] = owner, now + seconds, self._last
        return self._last

    async def extend(self, name: str, owner: str, seconds: float) -> bool:
        """Keep it for so long from now on; False when it is somebody else's."""
        if not self._is_of(name, owner):
            return False
        self._held[name] = owner, self._clock() + seconds, self._held[name][2]
        return True

    async def release(self, name: str, owner: str) -> bool:
        """Let it go; False when it is somebody else's."""
        if not self._is_of(name, owner):
            return False
        del self._held[name]
        return True

    def _is_of(self, name: str, owner: str) -> bool:
        held = self._held.get(name)
        return held is not None and held[0] == owner and held[1] > self._clock()
