"""Values and locks in Redis, for all processes together."""

from collections.abc import Sequence

from app.core.cache.stores.base import LEASE, NoNumberError
from app.core.redis.asking import Link, Refused
from app.core.redis.connection import Client

AT_ONCE = 500
_FENCE = ":fence"
_FENCE_SECONDS = 86_400

_FILL = """
if redis.call('get', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('del', KEYS[2])
if ARGV[2] ~= '' then redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3]) end
return 1
"""
_INCREMENT = """
local total = redis.call('incrby', KEYS[1], ARGV[1])
if redis.call('pttl', KEYS[1]) == -1 then redis.call('pexpire', KEYS[1], ARGV[2]) end
return total
"""
# The number is the time of Redis in microseconds, or one more than the last one: it grows even when
# Redis has lost what it kept. Who asks again because an answer was lost gets the same number.
_TAKE = """
local owner = redis.call('get', KEYS[1])
if owner == ARGV[1] then return redis.call('get', KEYS[2]) end
if owner then return false end
local now = redis.call('time')
local last = tonumber(redis.call('get', KEYS[2]) or '0')
local number = string.format('%.0f', math.max(last + 1, now[1] * 1000000 + now[2]))
redis.call('set', KEYS[2], number, 'ex', ARGV[3])
redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
return number
"""
_EXTEND = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('pexpire', KEYS[1], ARGV[2])
"""
_RELEASE = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('del', KEYS[1])
"""


class RedisStore:
    """Values; a question that Redis does not answer raises `RedisAwayError`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Read several keys at once."""
        if len(keys) == 1:
            name = self._name(keys[0])
            return [await self._link.ask(lambda redis: redis.get(name))]

        async def read(redis: Client) -> list[bytes | None]:
            # Not MGET, whose keys must be on one node of a cluster.
            async with redis.pipeline(transaction=False) as pipeline:
                for key in keys:
                    pipeline.get(self._name(key))
                found: list[bytes | None] = await pipeline.execute()
            return found

        return await self._link.ask(read)

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        """Write a key."""
        name, lasting = self._name(key), _milliseconds(seconds)
        await self._link.ask(lambda redis: redis.set(name, value, px=lasting))

    async def add(self, key: str, value: bytes, seconds: float) -> bytes:
        """Write a key unless it is there, and give what is there now."""
        return await self._add(self._name(key), value, _milliseconds(seconds))

    async def lease(self, key: str, token: bytes, seconds: float) -> bool:
        """Say who may fill a key; False when it is somebody else."""
        return await self._add(self._name(key) + LEASE, token, _milliseconds(seconds)) == token

    async def _add(self, name: str, value: bytes, lasting: int) -> bytes:

        async def write(redis: Client) -> bytes | None:
            async with redis.pipeline(transaction=False) as pipeline:
                pipeline.set(name, value, px=lasting, nx=True)
                pipeline.get(name)
                _, found = await pipeline.execute()
            there: bytes | None = found
            return there

        return await self._link.ask(write) or value

    async def renew(self, key: str, token: bytes, seconds: float) -> bool:
        """Keep a lease for so long from now on; False when it is not this one any more."""
        values = token, _milliseconds(seconds)
        return bool(await self._link.run(_EXTEND, [self._name(key) + LEASE], values))

    async def fill(self, key: str, value: bytes | None, seconds: float, token: bytes) -> bool:
        """Write a key, or nothing, and end its lease, if the lease is still this one."""
        names = self._name(key), self._name(key) + LEASE
        values = token, value or b"", _milliseconds(seconds)
        return bool(await self._link.run(_FILL, names, values))

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove keys and their leases."""
        await self._link.ask(lambda redis: self.delete_by(redis, keys))

    async def delete_by(self, redis: Client, keys: Sequence[str]) -> None:
        """Remove keys and their leases by means of this client."""
        for start in range(0, len(keys), AT_ONCE):
            async with redis.pipeline(transaction=False) as pipeline:
                for key in keys[start : start + AT_ONCE]:
                    pipeline.delete(self._name(key))
                    pipeline.delete(self._name(key) + LEASE)
                await pipeline.execute()

    async def increment(self, key: str, amount: int, seconds: float) -> int:
        """Count a key up; the time runs from the first time on.

        Raises:
            NoNumberError: there is something else.
        """
        values = amount, _milliseconds(seconds)
        try:
            return int(await self._link.run(_INCREMENT, [self._name(key)], values))
        except Refused as error:
            raise NoNumberError("what is kept there is no whole number") from error

    async def clear(self) -> None:
        """Remove everything."""
        await self._link.ask(self.clear_by)

    async def clear_by(self, redis: Client) -> None:
        """Remove everything by means of this client."""
        found = redis.scan_iter(match=self._link.key("cache", "*"), count=AT_ONCE)
        async for name in found:
            await redis.delete(name)

    def _name(self, key: str) -> str:
        # In braces: a key and its lease are on the same node of a cluster.
        return self._link.key("cache", f"{{{key}}}")


class RedisLocks:
    """Locks between all processes; without Redis nobody gets one (`RedisAwayError`)."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def take(self, name: str, owner: str, seconds: float) -> int | None:
        """Give a number greater than that of every earlier owner; None when it is taken."""
        key = self._name(name)
        values = owner, _milliseconds(seconds), _FENCE_SECONDS
        number = await self._link.run(_TAKE, [key, key + _FENCE], values)
        return None if number is None else int(number)

    async def extend(self, name: str, owner: str, seconds: float) -> bool:
        """Keep it for so long from now on; False when it is somebody else's."""
        values = owner, _milliseconds(seconds)
        return bool(await self._link.run(_EXTEND, [self._name(name)], values))

    async def release(self, name: str, owner: str) -> bool:
        """Let it go; False when it is somebody else's."""
        return bool(await self._link.run(_RELEASE, [self._name(name)], [owner]))

    def _name(self, name: str) -> str:
        return self._link.key("lock", f"{{{name}}}")


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
