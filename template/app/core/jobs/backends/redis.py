"""What is remembered about jobs by all processes together, in Redis."""

from time import time
from typing import Any

from app.core.redis import link

BEAT_SECONDS = 5.0
SILENT_SECONDS = 20.0
"""A worker that was not heard of for so long counts as dead."""

_RELEASE = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
)
_KEEP = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then"
    " return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
)


def key(*names: str) -> str:
    """Name a key of jobs; in a cluster all of them are on one node."""
    return f"{{{link.key('jobs')}}}:{':'.join(names)}"


class RedisStore:
    """Names and texts in Redis; each method raises RedisAwayError when it does not answer."""

    async def claim(self, name: str, owner: str, seconds: float) -> bool:
        """Take a name that nobody has; asked a second time, it is still the owner's."""
        place, lifetime = key(name), _milliseconds(seconds)

        async def take(redis: Any) -> bool:
            if await redis.set(place, owner, px=lifetime, nx=True):
                return True
            # The question may have been asked before, and its answer lost.
            return bool(await redis.get(place) == owner.encode())

        return await link.ask(take)

    async def keep(self, name: str, owner: str, seconds: float) -> None:
        """Have a name for longer, if it is still the owner's."""
        lifetime = _milliseconds(seconds)
        await link.ask(lambda redis: redis.eval(_KEEP, 1, key(name), owner, lifetime))

    async def release(self, name: str, owner: str) -> None:
        """Give a name back that one has."""
        await link.ask(lambda redis: redis.eval(_RELEASE, 1, key(name), owner))

    async def put(self, name: str, text: str, seconds: float) -> None:
        """Remember a text."""
        lifetime = _milliseconds(seconds)
        await link.ask(lambda redis: redis.set(key(name), text, px=lifetime))

    async def get(self, name: str) -> str | None:
        """Look a text up."""
        found: bytes | None = await link.ask(lambda redis: redis.get(key(name)))
        return None if found is None else found.decode()

    async def beat(self, worker: str) -> None:
        """Tell that a worker is alive."""
        await link.ask(lambda redis: redis.zadd(key("workers"), {worker: time()}))

    async def leave(self, worker: str) -> None:
        """Tell that a worker stops."""
        await link.ask(lambda redis: redis.zrem(key("workers"), worker))

    async def workers(self) -> int:
        """Count the workers that are alive."""

        async def count(redis: Any) -> int:
            alive = time() - SILENT_SECONDS
            await redis.zremrangebyscore(key("workers"), "-inf", f"({alive}")
            return int(await redis.zcard(key("workers")))

        return await link.ask(count)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
