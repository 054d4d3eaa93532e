"""What every cache and every lock does, whatever keeps it: derive from `CacheContract`."""

import asyncio
from datetime import UTC, datetime

import pytest
from pydantic import BaseModel

from app.core import deadline
from app.core.cache import LockLostError, LockTakenError, cache, cached, lock, locks, port
from app.core.cache.stores.base import Locks
from app.core.database.handle import Database
from app.core.errors import DeadlineExceededError
from tests.core.first_database import database

PATIENCE = 20


class Rate(BaseModel):
    """Something to keep."""

    currency: str
    at: datetime


class Computing:
    """Something slow that says how often it was done; it waits until it may end."""

    def __init__(self, answer: object = "computed") -> None:
        self.answer = answer
        self.times = 0
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def __call__(self) -> object:
        self.times += 1
        self.begun.set()
        await self.may_end.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def at_once(self) -> "Computing":
        """The same without any waiting."""
        self.may_end.set()
        return self


class Unheard:
    """Takes a lock, and never says so."""

    def __init__(self, within: Locks) -> None:
        self.extend, self.release = within.extend, within.release
        self.taken = asyncio.Event()
        self._take = within.take

    async def take(self, name: str, owner: str, seconds: float) -> int | None:
        await self._take(name, owner, seconds)
        self.taken.set()
        await asyncio.Event().wait()
        return None


async def turn(times: int = 20) -> None:
    """Let the others go on for a while."""
    for _ in range(times):
        await asyncio.sleep(0)


async def until_gone(key: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while await cache.get(key) is not None:  # noqa: ASYNC110 - there is nothing to be told by
            await asyncio.sleep(0.01)


class CacheContract:
    """The tests; the fixture `started` of the derived class runs a service."""

    @pytest.fixture
    def started(self) -> None:
        raise NotImplementedError

    async def test_values_come_back_as_what_they_were(self, started: None) -> None:
        rate = Rate(currency="EUR", at=datetime(2026, 1, 1, tzinfo=UTC))
        await cache.set("model", rate, seconds=60)
        await cache.set("models", [rate], seconds=60)
        await cache.set("json", {"a": [1, "ü", None]}, seconds=60)
        assert await cache.get("model", Rate) == rate
        assert await cache.get("models", list[Rate]) == [rate]
        assert await cache.get("json") == {"a": [1, "ü", None]}
        assert await cache.get("nothing") is None

    async def test_they_end_after_their_time(self, started: None) -> None:
        await cache.set("short", 1, seconds=0.05)
        await cache.set("long", 1, seconds=60)
        await until_gone("short")
        assert await cache.get("long") == 1

    async def test_what_was_written_by_another_version_is_computed_anew(
        self, started: None
    ) -> None:
        await cache.set("rate", {"currency": 1}, seconds=60)
        assert await cache.get("rate", Rate) is None
        rate = Rate(currency="EUR", at=datetime(2026, 1, 1, tzinfo=UTC))
        make = Computing(rate).at_once()
        assert await cache.remember("rate", make, kind=Rate, seconds=60) == rate
        assert await cache.get("rate", Rate) == rate

    async def test_a_removed_value_is_gone(self, started: None) -> None:
        for key in ("a", "b", "c"):
            await cache.set(key, key, seconds=60)
        await cache.delete("a", "b", "never there")
        assert [await cache.get(key) for key in ("a", "b", "c")] == [None, None, "c"]

    async def test_a_tag_removes_all_that_have_it(self, started: None) -> None:
        await cache.set("a", 1, seconds=60, tags=["x"])
        await cache.set("b", 2, seconds=60, tags=["x", "y"])
        await cache.set("c", 3, seconds=60, tags=["y"])
        assert [await cache.get(key) for key in ("a", "b", "c")] == [1, 2, 3]
        await cache.invalidate("x")
        assert [await cache.get(key) for key in ("a", "b", "c")] == [None, None, 3]
        await cache.set("a", 4, seconds=60, tags=["x"])
        assert await cache.get("a") == 4

    async def test_counting(self, started: None) -> None:
        assert await cache.increment("n", seconds=60) == 1
        assert await cache.increment("n", 5, seconds=60) == 6
        assert await cache.increment("n", -2, seconds=60) == 4
        assert await cache.get("n") == 4
        await cache.set("text", "x", seconds=60)
        with pytest.raises(TypeError):
            await cache.increment("text", seconds=60)

    async def test_counting_on_does_not_prolong(self, started: None) -> None:
        await cache.increment("n", seconds=0.1)
        async with asyncio.timeout(PATIENCE):
            while await cache.increment("n", seconds=60) > 1:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)

    async def test_what_cannot_be_kept_is_refused(self, started: None) -> None:
        with pytest.raises(TypeError, match="only JSON"):
            await cache.set("x", object(), seconds=60)
        with pytest.raises(TypeError, match="several"):
            await cache.set("x", 1, seconds=60, tags="tag")
        for seconds in (0, -1, 10**9):
            with pytest.raises(ValueError, match="at most"):
                await cache.set("x", 1, seconds=seconds)
            with pytest.raises(ValueError, match="at most"):
                await cache.increment("x", seconds=seconds)
            with pytest.raises(ValueError, match="at most"):
                await cache.remember("x", Computing(1).at_once(), seconds=seconds)

    async def test_long_names_do_not_mix(self, started: None) -> None:
        names = ["x" * 300 + end for end in "ab"]
        for name in names:
            await cache.set(name, name, seconds=60)
        assert [await cache.get(name) for name in names] == names

    # --- one computes, the others wait ---

    async def test_of_many_who_ask_one_computes(self, started: None) -> None:
        make = Computing([1])
        asking = [asyncio.create_task(cache.remember("slow", make, seconds=60)) for _ in range(100)]
        await make.begun.wait()
        await turn()
        make.may_end.set()
        answers = await asyncio.gather(*asking)
        assert (make.times, answers) == (1, [[1]] * 100)
        assert len(set(map(id, answers))) == 100
        assert await cache.remember("slow", make, seconds=60) == [1]
        assert make.times == 1

    async def test_nothing_is_something_that_can_be_kept(self, started: None) -> None:
        make = Computing(None).at_once()
        for _ in range(2):
            assert await cache.remember("none", make, seconds=60) is None
        assert make.times == 1

    async def test_what_fails_is_not_kept_and_everybody_hears_of_it(self, started: None) -> None:
        make = Computing(LookupError("no such thing"))
        asking = [asyncio.create_task(cache.remember("bad", make, seconds=60)) for _ in range(5)]
        await make.begun.wait()
        await turn()
        make.may_end.set()
        answers = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(answer) for answer in answers] == [LookupError] * 5
        assert make.times == 1
        assert await cache.remember("bad", Computing(1).at_once(), seconds=60) == 1

    async def test_when_the_first_gives_up_another_one_computes(self, started: None) -> None:
        first, second = Computing("first"), Computing("second").at_once()
        leader = asyncio.create_task(cache.remember("slow", first, seconds=60))
        await first.begun.wait()
        follower = asyncio.create_task(cache.remember("slow", second, seconds=60))
        await turn()
        leader.cancel()
        async with asyncio.timeout(PATIENCE):
            assert await follower == "second"
        with pytest.raises(asyncio.CancelledError):
            await leader

    @pytest.mark.parametrize(
        ("left", "error"), [(60, DeadlineExceededError("too late")), (0, LookupError("too late"))]
    )
    async def test_who_has_less_time_fails_alone(
        self, started: None, left: float, error: Exception
    ) -> None:
        hasty, patient = Computing(error), Computing("in time").at_once()

        async def ask_in_a_hurry() -> object:
            with deadline.within(left):
                return await cache.remember("slow", hasty, seconds=60)

        leader = asyncio.create_task(ask_in_a_hurry())
        await hasty.begun.wait()
        follower = asyncio.create_task(cache.remember("slow", patient, seconds=60))
        await turn()
        hasty.may_end.set()
        async with asyncio.timeout(PATIENCE):
            assert await follower == "in time"
        with pytest.raises(type(error)):
            await leader

    async def test_what_takes_longer_than_a_lease_is_kept(
        self, started: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(port, "LEASE_SECONDS", 4.0)
        slow, removed = Computing("slow"), Computing("removed")
        asking = [
            asyncio.create_task(cache.remember("slow", slow, seconds=60)),
            asyncio.create_task(cache.remember("removed", removed, seconds=60)),
        ]
        await asyncio.gather(slow.begun.wait(), removed.begun.wait())
        await cache.delete("removed")
        await asyncio.sleep(4.5)  # more than one lease
        slow.may_end.set()
        removed.may_end.set()
        assert await asyncio.gather(*asking) == ["slow", "removed"]
        assert [await cache.get("slow"), await cache.get("removed")] == ["slow", None]

    @pytest.mark.parametrize("by_tag", [True, False])
    async def test_what_was_removed_meanwhile_is_not_kept(
        self, started: None, *, by_tag: bool
    ) -> None:
        old, new = Computing("old"), Computing("new").at_once()
        asking = asyncio.create_task(cache.remember("key", old, seconds=60, tags=["tag"]))
        await old.begun.wait()
        await (cache.invalidate("tag") if by_tag else cache.delete("key"))
        if not by_tag:
            # Who asks after that gets what is there after that.
            assert await cache.remember("key", new, seconds=60, tags=["tag"]) == "new"
        old.may_end.set()
        assert await asking == "old"
        assert await cache.remember("key", new, seconds=60, tags=["tag"]) == "new"

    async def test_what_was_written_meanwhile_stays(self, started: None) -> None:
        old = Computing("old")
        asking = asyncio.create_task(cache.remember("key", old, seconds=60))
        await old.begun.wait()
        await cache.set("key", "new", seconds=60)
        old.may_end.set()
        assert await asking == "old"
        assert await cache.get("key") == "new"

    async def test_values_are_removed_after_the_commit(self, started: None) -> None:
        await cache.set("a", 1, seconds=60)
        await cache.set("b", 1, seconds=60, tags=["tag"])
        with pytest.raises(RuntimeError, match="changed my mind"):
            await self._fail_after_removing(database)
        assert [await cache.get("a"), await cache.get("b")] == [1, 1]
        async with database.session_context() as session:
            cache.forget_after_commit(session, "a", tags=["tag"])
            assert await cache.get("a") == 1
        assert [await cache.get("a"), await cache.get("b")] == [None, None]

    async def _fail_after_removing(self, database: Database) -> None:
        async with database.session_context() as session:
            cache.forget_after_commit(session, "a", tags=["tag"])
            raise RuntimeError("changed my mind")

    # --- functions ---

    async def test_a_cached_function_is_called_once_for_the_same_arguments(
        self, started: None
    ) -> None:
        calls: list[tuple[str, int]] = []

        @cached(seconds=60, tags=lambda name, number=0: [f"name/{name}"])
        async def find(name: str, number: int = 0) -> Rate:
            """Find it."""
            calls.append((name, number))
            return Rate(currency=name, at=datetime(2026, 1, 1, tzinfo=UTC))

        first = await find("EUR")
        assert isinstance(first, Rate)
        assert await find("EUR", 0) == await find(number=0, name="EUR") == first
        assert calls == [("EUR", 0)]
        await find("EUR", 1)
        await find("0", 1)
        assert calls == [("EUR", 0), ("EUR", 1), ("0", 1)]
        await find.forget("EUR")
        await find("EUR")
        await find("EUR", 1)
        assert calls[3:] == [("EUR", 0)]
        await cache.invalidate("name/EUR")
        await find("EUR", 1)
        await find("0", 1)
        assert calls[4:] == [("EUR", 1)]
        assert find.__doc__ == "Find it."

    async def test_a_key_is_named_where_arguments_cannot_name_it(self, started: None) -> None:
        async def find(number: int, session: object) -> int:
            return number

        with pytest.raises(TypeError, match="give @cached a key"):
            await cached(seconds=60)(find)(1, object())
        named = cached(seconds=60, key=lambda number, session: f"number/{number}")(find)
        assert await named(1, object()) == 1
        assert await cache.get("number/1") == 1

    # --- locks ---

    async def test_a_lock_has_one_owner_and_its_numbers_grow(self, started: None) -> None:
        async with lock("report") as first:
            with pytest.raises(LockTakenError):
                async with lock("report"):
                    pytest.fail("two owners")
            async with lock("another"):
                pass
            await first.extend(60)
        async with lock("report") as second:
            assert second.number > first.number

    async def test_a_lock_is_free_again_when_its_taker_was_not_told(self, started: None) -> None:
        kept_in = locks._Keeper.locks
        assert kept_in is not None
        unheard = Unheard(kept_in)

        async def take() -> None:
            async with lock("report"):
                pytest.fail("nobody was told")

        with locks.keeping_locks(unheard):
            taking = asyncio.create_task(take())
            await unheard.taken.wait()
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        async with lock("report"):
            pass

    async def test_one_waits_for_a_lock(self, started: None) -> None:
        at_work = 0
        numbers: list[int] = []

        async def work() -> None:
            nonlocal at_work
            async with lock("report", wait=PATIENCE) as held:
                at_work += 1
                assert at_work == 1
                await asyncio.sleep(0)
                numbers.append(held.number)
                at_work -= 1

        await asyncio.gather(*(work() for _ in range(5)))
        assert numbers == sorted(set(numbers))

    async def test_the_number_tells_of_an_owner_whose_time_ran_out(self, started: None) -> None:
        """What both write to refuses the smaller number."""
        seen = 0

        def write(number: int) -> bool:
            nonlocal seen
            if number < seen:
                return False
            seen = number
            return True

        async with lock("report", seconds=0.05) as sleeper:
            async with lock("report", wait=PATIENCE) as awake:
                assert write(awake.number)
                assert not write(sleeper.number)
                with pytest.raises(LockLostError):
                    await sleeper.extend(60)
            # The sleeper's end does not release the lock of somebody else.
            async with lock("report"):
                pass
