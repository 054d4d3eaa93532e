"""The cache and the locks in the memory of this process."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from app.config import Settings
from app.core.application import create_app
from app.core.cache import cache, lock
from app.core.cache.port import Cache
from app.core.cache.stores.memory import MemoryLocks, MemoryStore
from tests.core.caching import CacheContract
from tests.core.clock import Clock


class TestCacheInMemory(CacheContract):
    @pytest.fixture
    async def started(self, settings: Settings) -> AsyncIterator[None]:
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            yield


async def test_there_are_no_locks_outside_of_the_lifespan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.core.cache.locks._Keeper.locks", None)
    with pytest.raises(RuntimeError, match="outside of the application's lifespan"):
        async with lock("x"):
            raise AssertionError


async def test_memory_does_not_grow() -> None:
    store = MemoryStore(most_entries=100, most_bytes=50_000)
    await store.set("used", b"x", 60)
    for number in range(1000):
        await store.set(str(number), b"x", 60)
        assert await store.get(["used"]) == [b"x"]
    assert len(store) == 100
    for number in range(1000):
        await store.set(f"large {number}", b"x" * 4000, 60)
    assert len(store) < 50_000 / 4000
    await store.set("too large", b"x" * 60_000, 60)
    assert await store.get(["too large"]) == [None]
    assert len(store) > 0


async def test_what_is_too_old_takes_no_room() -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    for _ in range(3):
        await store.set("key", b"x" * 1000, 10)
        clock.now += 11
        assert await store.get(["key"]) == [None]
    assert (len(store), store._bytes) == (0, 0)


async def test_locks_that_ended_are_forgotten() -> None:
    clock = Clock()
    locks = MemoryLocks(clock)
    for number in range(100):
        assert await locks.take(str(number), "somebody", 10)
    clock.now += 11
    assert await locks.take("last", "somebody", 10)
    assert len(locks._held) == 1


async def test_outside_of_a_running_service_it_says_so() -> None:
    with pytest.raises(RuntimeError, match="outside"):
        await Cache().get("key")


async def test_a_service_within_another_has_its_own(settings: Settings) -> None:
    outer, inner = create_app(settings), create_app(settings)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(outer.router.lifespan_context(outer))
        await cache.set("key", "outer", seconds=60)
        async with inner.router.lifespan_context(inner), lock("x"):
            assert await cache.get("key") is None
            await cache.set("key", "inner", seconds=60)
        assert await cache.get("key") == "outer"
