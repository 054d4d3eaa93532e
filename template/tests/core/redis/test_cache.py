"""The cache and the locks in Redis, shared by several processes, and without it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from sqlalchemy import make_url

from app.config import Settings
from app.core.application import create_app
from app.core.cache import cache, lock
from app.core.cache.port import Cache
from app.core.cache.stores import standing_in
from app.core.cache.stores.redis import RedisLocks
from app.core.cache.stores.shared import stores_behind
from app.core.redis import RedisAwayError
from app.core.redis.asking import Link
from tests.core.caching import CacheContract, Computing, turn
from tests.core.outages import Relay
from tests.core.redis.conftest import leading_to
from tests.core.redis.servers import Server

PATIENCE = 20

Process = tuple[Link, Cache]
NewProcess = Callable[..., Awaitable[Process]]


class TestCacheInRedis(CacheContract):
    @pytest.fixture
    async def started(self, on_redis: Settings) -> AsyncIterator[None]:
        app = create_app(on_redis)
        async with app.router.lifespan_context(app):
            yield


@pytest.fixture
async def new_process(settings: Settings, prefix: str) -> AsyncIterator[NewProcess]:
    """Makes what another process of the service has: a connection and a cache of its own."""
    async with AsyncExitStack() as stack:

        async def make(url: str, **changes: object) -> Process:
            link = Link()
            given = leading_to(settings, url, prefix, **changes)
            await stack.enter_async_context(link.established(given))
            mine, (store, _) = Cache(), stack.enter_context(stores_behind(link))
            stack.enter_context(mine.kept_in(store))
            return link, mine

        yield make


@asynccontextmanager
async def relay_to(server: Server) -> AsyncIterator[Relay]:
    relay = Relay(make_url(server.url))
    await relay.mend()
    try:
        yield relay
    finally:
        await relay.cut()


def address(relay: Relay) -> str:
    return f"redis://127.0.0.1:{relay.port}/0"


async def until(link: Link, *, answers: bool) -> None:
    async with asyncio.timeout(PATIENCE):
        while link.answers is not answers:  # noqa: ASYNC110 - it is what a request does, too
            await asyncio.sleep(0.01)


async def test_processes_share_what_they_keep(new_process: NewProcess, redis_url: str) -> None:
    (_, one), (_, another) = await new_process(redis_url), await new_process(redis_url)
    await one.set("key", 1, seconds=60, tags=["tag"])
    assert await another.get("key") == 1
    await another.invalidate("tag")
    assert await one.get("key") is None


async def test_of_all_processes_one_computes(new_process: NewProcess, redis_url: str) -> None:
    caches = [(await new_process(redis_url))[1] for _ in range(4)]
    make = Computing("once")
    asking = [
        asyncio.create_task(each.remember("slow", make, seconds=60))
        for each in caches
        for _ in range(5)
    ]
    await make.begun.wait()
    await asyncio.sleep(0.1)  # the others look again and again meanwhile
    make.may_end.set()
    assert await asyncio.gather(*asking) == ["once"] * 20
    assert make.times == 1


@pytest.mark.parametrize("by_tag", [True, False])
async def test_what_another_process_removed_meanwhile_is_not_kept(
    new_process: NewProcess, redis_url: str, *, by_tag: bool
) -> None:
    (_, one), (_, another) = await new_process(redis_url), await new_process(redis_url)
    old, new = Computing("old"), Computing("new").at_once()
    asking = asyncio.create_task(one.remember("key", old, seconds=60, tags=["tag"]))
    await old.begun.wait()
    await (another.invalidate("tag") if by_tag else another.delete("key"))
    old.may_end.set()
    assert await asking == "old"
    assert await another.remember("key", new, seconds=60, tags=["tag"]) == "new"


async def test_killed_it_is_stood_in_for_and_used_again(
    new_process: NewProcess, server: Server
) -> None:
    link, mine = await new_process(server.url)
    await mine.set("key", "in redis", seconds=60)
    server.kill()
    assert await mine.get("key") is None
    await mine.set("key", "in memory", seconds=60)
    assert await mine.get("key") == "in memory"
    assert await mine.increment("n", seconds=60) == 1
    make = Computing("meanwhile")
    asking = [asyncio.create_task(mine.remember("slow", make, seconds=60)) for _ in range(9)]
    await make.begun.wait()
    await turn()
    make.may_end.set()
    assert (await asyncio.gather(*asking), make.times) == (["meanwhile"] * 9, 1)
    server.start()
    await until(link, answers=True)
    assert await mine.get("key") is None
    await mine.set("key", "again in redis", seconds=60)
    _, another = await new_process(server.url)
    assert await another.get("key") == "again in redis"


async def test_what_was_removed_meanwhile_does_not_come_back(
    new_process: NewProcess, server: Server
) -> None:
    """Redis keeps its values while nobody reaches it."""
    async with relay_to(server) as relay:
        link, mine = await new_process(address(relay))
        for key in ("deleted", "changed", "kept", "failed"):
            await mine.set(key, "before", seconds=60)
        await mine.set("tagged", "before", seconds=60, tags=["tag"])
        await relay.cut()
        await mine.delete("deleted")
        await mine.set("changed", "meanwhile", seconds=60)
        await mine.invalidate("tag")
        assert await mine.get("changed") == "meanwhile"
        await relay.mend()
        await until(link, answers=True)
        found = [await mine.get(key) for key in ("deleted", "changed", "tagged", "kept")]
        assert found == [None, None, None, "before"]


async def test_what_one_lost_answer_left_behind_is_not_read(
    new_process: NewProcess, server: Server
) -> None:
    """One failure opens no breaker, and still nobody reads what should be gone."""
    async with relay_to(server) as relay:
        link, mine = await new_process(address(relay), redis_timeout=1)
        await mine.set("key", "before", seconds=60)
        relay.flowing.clear()
        await mine.delete("key")
        relay.flowing.set()
        assert link.answers
        assert await mine.get("key") is None


async def test_too_many_debts_are_paid_with_everything(
    new_process: NewProcess, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing_in, "MOST_DEBTS", 10)
    async with relay_to(server) as relay:
        link, mine = await new_process(address(relay))
        await mine.set("kept", "before", seconds=60)
        await mine.set("20", "before", seconds=60)
        await relay.cut()
        for number in range(50):
            await mine.delete(str(number))
        await relay.mend()
        await until(link, answers=True)
        assert [await mine.get("20"), await mine.get("kept")] == [None, None]


async def test_who_never_answers_is_not_waited_for(new_process: NewProcess, server: Server) -> None:
    async with relay_to(server) as relay:
        relay.flowing.clear()
        link, mine = await new_process(address(relay), redis_timeout=0.1)
        clock = asyncio.get_running_loop().time
        started = clock()
        for number in range(200):
            await mine.set(str(number), number, seconds=60)
            assert await mine.get(str(number)) == number
        # 400 questions, of which three at most have waited, each for 0.2 s; all would take 80 s.
        assert clock() - started < PATIENCE
        assert not link.answers
        relay.flowing.set()
        await until(link, answers=True)


async def test_no_process_has_the_lock_while_redis_is_away(
    settings: Settings, server: Server, prefix: str
) -> None:
    app = create_app(leading_to(settings, server.url, prefix))
    async with app.router.lifespan_context(app):
        async with lock("report") as held:
            server.kill()
            with pytest.raises(RedisAwayError):
                await held.extend(60)
        with pytest.raises(RedisAwayError):
            async with lock("report"):
                pytest.fail("somebody else may have it")
        await cache.set("but", "the rest goes on", seconds=60)


async def test_a_lock_excludes_other_processes_and_its_numbers_survive_redis(
    new_process: NewProcess, server: Server
) -> None:
    (link, _), (other, _) = await new_process(server.url), await new_process(server.url)
    one, another = RedisLocks(link), RedisLocks(other)
    first = await one.take("report", "one", 60)
    assert first
    # Asked again because the answer was lost: the same lock, the same number.
    assert await one.take("report", "one", 60) == first
    assert await another.take("report", "another", 60) is None
    assert not await another.release("report", "another")
    server.kill()
    server.start()
    await asyncio.gather(until(link, answers=True), until(other, answers=True))
    second = await another.take("report", "another", 60)
    assert second
    assert second > first
