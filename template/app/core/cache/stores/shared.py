"""Values and locks are in Redis, if the service was given the address of one."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from app.core.cache.stores.base import Locks, Store
from app.core.cache.stores.memory import MemoryLocks, MemoryStore
from app.core.cache.stores.redis import RedisLocks
from app.core.cache.stores.standing_in import StandingInStore
from app.core.redis.asking import Link, link

NEEDS: tuple[str, ...] = ("redis",)


@contextmanager
def stores_behind(link: Link) -> Iterator[tuple[Store, Locks]]:
    """Hold what keeps values and locks, in the Redis behind this connection if there is one."""
    if not link.configured:
        yield MemoryStore(), MemoryLocks()
        return
    store = StandingInStore(link)
    forget = link.when_back(store.settle)
    try:
        yield store, RedisLocks(link)
    finally:
        forget()


open_stores = partial(stores_behind, link)
