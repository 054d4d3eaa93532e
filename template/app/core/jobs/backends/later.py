"""Jobs that wait for their time in Redis, since what carries them would hold them in a worker."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from time import time
from typing import Any

import structlog

from app.core.jobs.backends.redis import key
from app.core.redis import RedisAwayError, link

log = structlog.get_logger(logger_name="app.jobs")

Send = Callable[[dict[str, Any]], Awaitable[None]]

LOOK_SECONDS = 0.5
"""How late a job may be that was to wait."""
AGAIN_SECONDS = 60.0
"""After this a job is moved again, when whoever was moving it has not said that it is sent."""
AT_ONCE = 50
"""Jobs that are moved at a time: they must all be sent long before that."""

_TAKE_DUE = """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, job in ipairs(due) do
  redis.call('ZADD', KEYS[1], ARGV[3], job)
end
return due
"""


async def put_off(content: dict[str, Any], moment: datetime) -> None:
    """Keep a job until its time.

    Raises:
        RedisAwayError: Redis does not answer.
    """
    written, due = json.dumps(content), moment.timestamp()
    await link.ask(lambda redis: redis.zadd(_place(), {written: due}))


async def count() -> int:
    """Count the jobs that wait.

    Raises:
        RedisAwayError: Redis does not answer.
    """
    return int(await link.ask(lambda redis: redis.zcard(_place())))


async def move_due(send: Send) -> None:
    """Send what is due by now, for ever; any number of processes may do it."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            while await send_due(send) == AT_ONCE:
                pass
        except RedisAwayError:
            continue  # the link says so
        except Exception:
            log.exception("what was due is not sent")


async def send_due(send: Send) -> int:
    """Send some of what is due by now, each job at least once, and count it.

    Raises:
        RedisAwayError: Redis does not answer.
    """
    now = time()
    due = await link.run(_TAKE_DUE, [_place()], [now, AT_ONCE, now + AGAIN_SECONDS])
    for written in due:
        await send(json.loads(written))
        await _forget(written)
    return len(due)


async def _forget(written: bytes) -> None:
    await link.ask(lambda redis: redis.zrem(_place(), written))


def _place() -> str:
    return key("delayed")
