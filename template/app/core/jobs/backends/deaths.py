"""Giving up jobs that end one worker after the other, where what carries them does not count it."""

from contextlib import suppress
from datetime import timedelta

from app.core.jobs.backends.base import Queue
from app.core.jobs.backends.redis import key
from app.core.jobs.message import Message
from app.core.jobs.running import give_up, run
from app.core.redis import RedisAwayError, link
from app.core.redis.connection import Client

MOST_WORKERS = 5
"""How many workers may die over a job."""
_COUNTED = timedelta(days=1)


async def run_counted(message: Message, queue: Queue, time_limit: timedelta) -> None:
    """Run a job, unless too many workers have died over this attempt.

    Raises:
        Exception: what is to become of the job could not be stored, so it must come again.
    """
    if await begin(message) > MOST_WORKERS:
        await give_up(message, queue)
        return
    try:
        await run(message, queue, time_limit)
    finally:
        with suppress(RedisAwayError):
            await link.ask(lambda redis: redis.delete(_name(message)))


async def begin(message: Message) -> int:
    """Count how often an attempt has begun since its last end.

    Raises:
        RedisAwayError: Redis does not answer.
    """
    name = _name(message)

    async def count(redis: Client) -> int:
        begun = int(await redis.incr(name))
        await redis.expire(name, _COUNTED)
        return begun

    return await link.ask(count)


def _name(message: Message) -> str:
    return key("begun", message.id, str(message.attempt))
