"""Redis, and memory where Redis is away.

What is kept meanwhile is kept for some seconds only, since other processes do not see when it is
removed. What was written or removed meanwhile is removed from Redis before it is asked again:
otherwise it would tell what was true before.
"""

from collections.abc import Sequence

from app.core.cache.stores.memory import MemoryStore
from app.core.cache.stores.redis import RedisStore
from app.core.redis.asking import Link, RedisAwayError
from app.core.redis.connection import Client

STAND_IN_SECONDS = 10.0
MOST_DEBTS = 100_000


class StandingInStore:
    """Values in Redis or, for as long as it does not answer, in memory."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._redis = RedisStore(link)
        self._memory = MemoryStore()
        self._debts: dict[str, int] = {}
        self._owes_everything = False
        self._debt = 0

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Read several keys at once."""
        if self._may_ask(keys):
            try:
                return await self._redis.get(keys)
            except RedisAwayError:
                pass
        return await self._memory.get(keys)

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        """Write a key."""
        if self._may_ask([key]):
            try:
                return await self._redis.set(key, value, seconds)
            except RedisAwayError:
                pass
        self._owe([key])
        await self._memory.set(key, value, min(seconds, STAND_IN_SECONDS))
        return None

    async def add(self, key: str, value: bytes, seconds: float) -> bytes:
        """Write a key unless it is there, and give what is there now."""
        if self._may_ask([key]):
            try:
                return await self._redis.add(key, value, seconds)
            except RedisAwayError:
                pass
        return await self._memory.add(key, value, min(seconds, STAND_IN_SECONDS))

    async def lease(self, key: str, token: bytes, seconds: float) -> bool:
        """Say who may fill a key; False when it is somebody else."""
        if self._may_ask([key]):
            try:
                return await self._redis.lease(key, token, seconds)
            except RedisAwayError:
                pass
        return await self._memory.lease(key, token, seconds)

    async def renew(self, key: str, token: bytes, seconds: float) -> bool:
        """Keep a lease for so long from now on; False when it is not this one any more."""
        if self._may_ask([key]):
            try:
                return await self._redis.renew(key, token, seconds)
            except RedisAwayError:
                pass
        return await self._memory.renew(key, token, seconds)

    async def fill(self, key: str, value: bytes | None, seconds: float, token: bytes) -> bool:
        """Write a key, or nothing, and end its lease, if the lease is still this one."""
        if self._may_ask([key]):
            try:
                return await self._redis.fill(key, value, seconds, token)
            except RedisAwayError:
                pass
        return await self._memory.fill(key, value, min(seconds, STAND_IN_SECONDS), token)

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove keys and their leases."""
        await self._memory.delete(keys)
        if self._may_ask(keys):
            try:
                return await self._redis.delete(keys)
            except RedisAwayError:
                pass
        self._owe(keys)
        return None

    async def increment(self, key: str, amount: int, seconds: float) -> int:
        """Count a key up; while Redis is away each process counts from nothing, for itself."""
        if self._may_ask([key]):
            try:
                return await self._redis.increment(key, amount, seconds)
            except RedisAwayError:
                pass
        return await self._memory.increment(key, amount, seconds)

    async def clear(self) -> None:
        """Remove everything."""
        self._memory.forget()
        try:
            await self._redis.clear()
        except RedisAwayError:
            self._owes_everything = True

    async def settle(self, redis: Client) -> None:
        """Remove from Redis what it does not know to be gone; then memory is needed no more."""
        while self._owes_everything or self._debts:
            if self._owes_everything:
                self._owes_everything = False
                try:
                    await self._redis.clear_by(redis)
                except BaseException:
                    self._owes_everything = True
                    raise
            paid = dict(self._debts)
            await self._redis.delete_by(redis, list(paid))
            for key, number in paid.items():
                if self._debts.get(key) == number:
                    del self._debts[key]
        self._memory.forget()

    def _may_ask(self, keys: Sequence[str]) -> bool:
        return not self._owes_everything and self._debts.keys().isdisjoint(keys)

    def _owe(self, keys: Sequence[str]) -> None:
        self._debt += 1
        self._debts.update(dict.fromkeys(keys, self._debt))
        if len(self._debts) > MOST_DEBTS:
            self._debts.clear()
            self._owes_everything = True
