"""Locks: one at a time, in this process or, with Redis, among all.

    async with lock("reports/nightly", seconds=60) as held:
        await write_report(fence=held.number)

No lock is safe by itself: its time may run out while its owner sleeps, and the next one begins.
What must not be written by both therefore compares the number, which grows from owner to owner, and
refuses a smaller one than it has seen.

Why: Martin Kleppmann, *How to do distributed locking* (2016).
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from random import uniform
from secrets import token_hex
from time import monotonic

import structlog

from app.core.cache.port import own_name
from app.core.cache.stores.base import Locks
from app.core.errors import ConflictError, ServiceUnavailableError

log = structlog.get_logger(logger_name="app.locks")

_NOT_STARTED = "locks are used outside of the application's lifespan"


class LockTakenError(ConflictError):
    """Somebody else has the lock."""


class LockLostError(ConflictError):
    """The time of the lock has run out, and somebody else may have it."""


@dataclass(frozen=True, slots=True)
class Held:
    """A lock that one has.

    Attributes:
        name: what is locked.
        number: greater than that of every earlier owner: a fencing token.
    """

    name: str
    number: int
    _locks: Locks
    _owner: str

    async def extend(self, seconds: float) -> None:
        """Keep it for so long from now on.

        Raises:
            LockLostError: it is too late.
            ServiceUnavailableError: Redis does not answer.
        """
        if not await self._locks.extend(self.name, self._owner, seconds):
            raise LockLostError("It took too long, and somebody else may have begun")


class _Keeper:
    locks: Locks | None = None


@contextmanager
def keeping_locks(locks: Locks) -> Iterator[None]:
    """Keep locks there until the block is left."""
    before, _Keeper.locks = _Keeper.locks, locks
    try:
        yield
    finally:
        _Keeper.locks = before


@asynccontextmanager
async def lock(
    name: str, *, seconds: float = 30.0, wait: float = 0.0, shared: bool = False
) -> AsyncIterator[Held]:
    """Do what is in the block while nobody else does.

    Args:
        name: what is locked, of the tenant at hand.
        seconds: after which somebody else may begin, even if the block has not ended.
        wait: seconds to wait for somebody else.
        shared: whether it is the same lock for all tenants.

    Raises:
        LockTakenError: somebody else has it.
        ServiceUnavailableError: Redis does not answer. Memory does not stand in for it: two
            processes would both have the lock.
    """
    locks = _Keeper.locks
    if locks is None:
        raise RuntimeError(_NOT_STARTED)
    held = await _take(locks, own_name(name, shared=shared), seconds, wait)
    try:
        yield held
    finally:
        await _release(held)


async def _take(locks: Locks, name: str, seconds: float, wait: float) -> Held:
    owner, end = token_hex(16), monotonic() + wait
    while (number := await _try(locks, name, owner, seconds)) is None:
        left = end - monotonic()
        if left <= 0:
            raise LockTakenError("Somebody else does this at the moment: try again")
        await asyncio.sleep(min(left, uniform(0.02, 0.08)))  # noqa: S311 - not to ask in step
    return Held(name, number, locks, owner)


async def _try(locks: Locks, name: str, owner: str, seconds: float) -> int | None:
    try:
        return await locks.take(name, owner, seconds)
    except BaseException:
        # It may be ours although we were not told: nobody else would release it.
        with suppress(ServiceUnavailableError):
            await locks.release(name, owner)
        raise


async def _release(held: Held) -> None:
    try:
        kept = await held._locks.release(held.name, held._owner)
    except ServiceUnavailableError:
        log.warning("lock not released: it ends by itself", lock=held.name)
    else:
        if not kept:
            log.warning("lock was lost before the end", lock=held.name)
