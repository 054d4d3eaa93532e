"""The port behind which values are cached.

    await cache.set("rates/eur", rates, seconds=60)
    rates = await cache.get("rates/eur", Rates)
    rates = await cache.remember("rates/eur", fetch_rates, kind=Rates, seconds=60)

Values are JSON or Pydantic models. `remember` computes a missing value once, however many ask for
it: the others wait, in this process and, by a lease in Redis, in the others too. A value that was
computed while its key or one of its tags was removed is not kept, so nobody caches what was read
before somebody else's commit.

How leases do that: Nishtala et al., *Scaling Memcache at Facebook* (2013), 3.2.1.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from random import uniform
from secrets import token_hex
from time import monotonic
from typing import Any, TypeVar, overload

import orjson
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import deadline
from app.core.cache.owners.owner import current_owner
from app.core.cache.stores.base import Store
from app.core.database.handle import after_commit
from app.core.errors import AppException
from app.core.signals import Signal

ValueT = TypeVar("ValueT")
Generations = Sequence[tuple[str, str]]
"""Keys of tags, and what was there when the value was computed."""

MOST_SECONDS = 30 * 86_400
LEASE_SECONDS = 5.0
"""How long the others wait for the one who computes a value; then they do it themselves.

After so long, too, others may keep what they compute in place of one who has died.
"""
LONGEST_LEASE_SECONDS = 600.0
"""How long a lease is renewed: who computes for longer hangs, and others may keep their value."""
LONGEST_NAME = 200
_ANYTHING = TypeAdapter[Any](Any)
_TAGGED = b"\x01"
looked_up: Signal[[bool]] = Signal()
"""Told of each value that is wanted: whether it was there."""

_NOT_STARTED = "the cache is used outside of the application's lifespan"


class _AbandonedError(Exception):
    """Whoever computed the value was cancelled, or had less time than the others."""


@dataclass(slots=True)
class _Flight:
    tags: frozenset[str]
    landed: "asyncio.Future[bytes]" = field(default_factory=asyncio.Future)


class Cache:
    """The one cache of the service, usable between its start and its stop."""

    def __init__(self) -> None:
        self._store: Store | None = None
        self._flights: dict[str, _Flight] = {}

    @overload
    async def get(self, key: str, kind: type[ValueT], *, shared: bool = False) -> ValueT | None: ...
    @overload
    async def get(self, key: str, kind: Any = Any, *, shared: bool = False) -> Any: ...
    async def get(self, key: str, kind: Any = Any, *, shared: bool = False) -> Any:
        """Read a value; None when there is none, or none of this kind.

        Args:
            key: of the tenant at hand.
            kind: a class or another type that Pydantic can read; without one: what JSON says.
            shared: whether the key is that of all tenants.
        """
        found = await self._read(_name(key, shared=shared))
        looked_up(found is not None)
        try:
            return None if found is None else _decoded(found, kind)
        except ValidationError:
            return None  # written by another version of the service

    async def set(
        self,
        key: str,
        value: object,
        *,
        seconds: float,
        tags: Sequence[str] = (),
        shared: bool = False,
    ) -> None:
        """Keep a value.

        Args:
            key: of the tenant at hand.
            value: JSON, or a Pydantic model.
            seconds: how long at most.
            tags: `invalidate` with one of them removes it.
            shared: whether the key and the tags are those of all tenants.

        Raises:
            TypeError: the value is neither JSON nor a Pydantic model.
            ValueError: that is no time, or too long.
        """
        _check(seconds)
        generations = await self._generations(_tag_names(tags, shared=shared))
        name, value = _name(key, shared=shared), _framed(as_json(value), generations)
        # Whoever computes it at this moment from what was before keeps nothing.
        await self._forget([name], [])
        await self._running().set(name, value, seconds)

    async def delete(self, *keys: str, shared: bool = False) -> None:
        """Remove values."""
        await self._forget([_name(key, shared=shared) for key in keys], [])

    async def invalidate(self, *tags: str, shared: bool = False) -> None:
        """Remove all values that have one of these tags."""
        await self._forget([], _tag_names(tags, shared=shared))

    def forget_after_commit(
        self,
        session: AsyncSession,
        *keys: str,
        tags: Sequence[str] = (),
        shared: bool = False,
    ) -> None:
        """Remove values once the session's changes are committed, and not at all if they never are.

        Args:
            session: what changes the things that the values were made from.
            keys: of the tenant at hand.
            tags: remove all values that have one of them.
            shared: whether the keys and the tags are those of all tenants.
        """
        names = [_name(key, shared=shared) for key in keys]
        tag_names = _tag_names(tags, shared=shared)

        async def forget() -> None:
            await self._forget(names, tag_names)

        after_commit(session, forget)

    async def increment(
        self, key: str, amount: int = 1, *, seconds: float, shared: bool = False
    ) -> int:
        """Count up, and give the sum.

        Good enough for figures and guards, not for accounts: while Redis is away each process
        counts for itself, and an increment whose answer is lost may count twice.

        Args:
            key: of the tenant at hand.
            amount: may be negative.
            seconds: how long from the first time on; later ones change nothing.
            shared: whether the key is that of all tenants.

        Raises:
            TypeError: what is kept there is no whole number.
            ValueError: that is no time, or too long.
        """
        _check(seconds)
        return await self._running().increment(_name(key, shared=shared), amount, seconds)

    @overload
    async def remember(
        self,
        key: str,
        make: Callable[[], Awaitable[Any]],
        *,
        kind: type[ValueT],
        seconds: float,
        tags: Sequence[str] = (),
        shared: bool = False,
    ) -> ValueT: ...
    @overload
    async def remember(
        self,
        key: str,
        make: Callable[[], Awaitable[Any]],
        *,
        kind: Any = Any,
        seconds: float,
        tags: Sequence[str] = (),
        shared: bool = False,
    ) -> Any: ...
    async def remember(
        self,
        key: str,
        make: Callable[[], Awaitable[Any]],
        *,
        kind: Any = Any,
        seconds: float,
        tags: Sequence[str] = (),
        shared: bool = False,
    ) -> Any:
        """Read a value, or compute and keep it; of all who ask at the same time, one computes it.

        What it is must depend on the key and the tenant only, not on who asks.

        Args:
            key: of the tenant at hand.
            make: computes the value; what it raises everybody gets who waits for it here, unless
                it may come of a deadline of the one caller for whom it is computed.
            kind: a class or another type that Pydantic can read; without one: what JSON says.
            seconds: how long it is kept at most.
            tags: `invalidate` with one of them removes it.
            shared: whether the key and the tags are those of all tenants.

        Raises:
            TypeError: the value is neither JSON nor a Pydantic model.
            ValueError: that is no time, or too long.
        """
        _check(seconds)
        name, tag_names = _name(key, shared=shared), _tag_names(tags, shared=shared)
        found = await self._read(name)
        looked_up(found is not None)
        if found is not None:
            try:
                return _decoded(found, kind)
            except ValidationError:  # written by another version of the service
                await self._forget([name], [])
        while True:
            try:
                found = await self._join(name, tag_names, make, seconds)
            except _AbandonedError:
                continue
            return _decoded(found, kind)

    async def clear(self) -> None:
        """Remove everything: for tests, and after an accident."""
        self._flights.clear()
        await self._running().clear()

    @contextmanager
    def kept_in(self, store: Store) -> Iterator[None]:
        """Keep values there until the block is left."""
        before = vars(self).copy()
        self._store, self._flights = store, {}
        try:
            yield
        finally:
            vars(self).update(before)

    # --- one computes, the others wait ---

    async def _join(
        self,
        name: str,
        tags: Sequence[str],
        make: Callable[[], Awaitable[Any]],
        seconds: float,
    ) -> bytes:
        if flight := self._flights.get(name):
            return await asyncio.shield(flight.landed)
        flight = self._flights[name] = _Flight(frozenset(tags))
        try:
            found = await self._compute_alone(name, tags, make, seconds)
        except BaseException as error:
            flight.landed.set_exception(_AbandonedError() if _is_its_own(error) else error)
            flight.landed.exception()  # seen: there need not be anybody who waits
            raise
        else:
            flight.landed.set_result(found)
            return found
        finally:
            if self._flights.get(name) is flight:
                del self._flights[name]

    async def _compute_alone(
        self,
        name: str,
        tags: Sequence[str],
        make: Callable[[], Awaitable[Any]],
        seconds: float,
    ) -> bytes:
        store, token = self._running(), token_hex(8).encode()
        end = monotonic() + LEASE_SECONDS
        while not await store.lease(name, token, LEASE_SECONDS) and monotonic() < end:
            await asyncio.sleep(uniform(0.01, 0.03))  # noqa: S311 - not to ask in step
            if (found := await self._read(name)) is not None:
                return found
        value = None
        try:
            if (found := await self._read(name)) is not None:
                return found
            generations = await self._generations(tags)
            async with self._kept_up(name, token):
                made = as_json(await make())
            value = _framed(made, generations)
            return made
        finally:
            await store.fill(name, value, seconds, token)

    @asynccontextmanager
    async def _kept_up(self, name: str, token: bytes) -> AsyncIterator[None]:
        """Prolong a lease while the block takes, however long that is."""
        store, end = self._running(), monotonic() + LONGEST_LEASE_SECONDS

        async def prolong() -> None:
            # Also after a refusal: where Redis was away for a moment, the lease may be there again.
            while monotonic() < end:
                await asyncio.sleep(LEASE_SECONDS / 3)
                await store.renew(name, token, LEASE_SECONDS)

        prolonging = asyncio.create_task(prolong())
        try:
            yield
        finally:
            prolonging.cancel()

    async def _forget(self, names: Sequence[str], tags: Sequence[str]) -> None:
        for name, flight in list(self._flights.items()):
            # Who asks from now on does not get what is being computed from what was before.
            if name in names or not flight.tags.isdisjoint(tags):
                del self._flights[name]
        if names or tags:
            await self._running().delete([*names, *tags])

    # --- values and the generations of their tags ---

    async def _read(self, name: str) -> bytes | None:
        [found] = await self._running().get([name])
        if found is None or not found.startswith(_TAGGED):
            return found
        header, _, value = found.removeprefix(_TAGGED).partition(b"\n")
        generations = orjson.loads(header)
        present = await self._running().get([tag for tag, _ in generations])
        fresh = [each and each.decode() for each in present] == [was for _, was in generations]
        return value if fresh else None

    async def _generations(self, tags: Sequence[str]) -> Generations:
        """Tell what is kept for each tag: who removes it makes values stale that have the tag."""
        store = self._running()
        new = token_hex(8).encode()
        return [(tag, (await store.add(tag, new, MOST_SECONDS)).decode()) for tag in tags]

    def _running(self) -> Store:
        if self._store is None:
            raise RuntimeError(_NOT_STARTED)
        return self._store


def _is_its_own(error: BaseException) -> bool:
    """Whether it may be only the caller for whom a value was computed: it left, or was in a hurry.

    With less time others, too, answer that they have none: 503 and 504.
    """
    if isinstance(error, asyncio.CancelledError):
        return True
    left = deadline.remaining()
    late = isinstance(error, AppException) and error.status in (503, 504)
    return left is not None and (late or left == 0)


def own_name(name: str, *, shared: bool) -> str:
    """Name something of the tenant at hand, or of all."""
    whole = f"{'shared' if shared else current_owner()}/{name}"
    if len(whole) <= LONGEST_NAME:
        return whole
    return f"{whole[:100]}~{blake2b(whole.encode(), digest_size=16).hexdigest()}"


def _name(key: str, *, shared: bool) -> str:
    return f"value/{own_name(key, shared=shared)}"


def _tag_names(tags: Sequence[str], *, shared: bool) -> list[str]:
    if isinstance(tags, str):
        raise TypeError("tags are several: a list or a tuple")
    return [f"tag/{own_name(tag, shared=shared)}" for tag in sorted(set(tags))]


def _check(seconds: float) -> None:
    if not 0 < seconds <= MOST_SECONDS:
        raise ValueError(f"a value is kept for more than 0 and at most {MOST_SECONDS} seconds")


def as_json(value: object) -> bytes:
    """Write JSON, also of Pydantic models, times and the like.

    Raises:
        TypeError: that cannot be done.
    """
    try:
        return _ANYTHING.dump_json(value)
    except ValueError as error:
        raise TypeError(f"only JSON and Pydantic models can be cached: {error}") from None


def _framed(value: bytes, generations: Generations) -> bytes:
    if not generations:
        return value
    return b"%b%b\n%b" % (_TAGGED, orjson.dumps(generations), value)


def _decoded(value: bytes, kind: Any) -> Any:
    return orjson.loads(value) if kind is Any else _reader(kind).validate_json(value)


@lru_cache(maxsize=512)
def _reader(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


cache = Cache()
