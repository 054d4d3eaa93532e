"""No Redis: values and locks are in the memory of each process."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.core.cache.stores.base import Locks, Store
from app.core.cache.stores.memory import MemoryLocks, MemoryStore

NEEDS: tuple[str, ...] = ()


@contextmanager
def open_stores() -> Iterator[tuple[Store, Locks]]:
    """Hold what keeps values and locks while the service runs."""
    yield MemoryStore(), MemoryLocks()
