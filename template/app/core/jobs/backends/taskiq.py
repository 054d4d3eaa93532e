"""Jobs by taskiq, in a stream of Redis: how the service sends them.

It writes what taskiq reads, and does not load it: with the libraries that it brings along, taskiq
takes an eighth of the time in which a service starts. Workers load it, see `taskiq_worker`.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from app.core.jobs.backends.base import Backend, NoWorkerError, Queue, Start
from app.core.jobs.backends.inline import BACKEND as INLINE
from app.core.jobs.backends.redis import RedisStore, key
from app.core.jobs.message import Message
from app.core.redis import link
from app.core.redis.connection import Client

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

RUN = "run"
"""The one task that taskiq knows; which of ours is meant stands in the message."""
GROUP = "workers"


class TaskiqQueue:
    """Sends jobs to the workers."""

    def __init__(self, settings: "CoreSettings") -> None:
        self.store = RedisStore()
        self.time_limit = timedelta(seconds=settings.jobs_time_limit_seconds)
        self.stream, self.delayed = key("stream"), key("delayed")

    async def send(self, message: Message) -> None:
        """Put a job into the stream; one that is due later waits elsewhere until then."""
        data, due = _as_taskiq_reads_it(message), message.not_before
        if due is None:
            await link.ask(lambda redis: redis.xadd(self.stream, {b"data": data}))
        else:
            await link.ask(lambda redis: redis.zadd(self.delayed, {data: due.timestamp()}))

    async def look(self) -> Mapping[str, Any]:
        """Count jobs and workers.

        Raises:
            NoWorkerError: there is none.
        """
        stream, delayed = self.stream, self.delayed
        found = {
            "backend": "taskiq",
            "workers": await self.store.workers(),
            "jobs": await link.ask(lambda redis: redis.xlen(stream)),
            "waiting": await link.ask(self._count_waiting),
            "later": await link.ask(lambda redis: redis.zcard(delayed)),
        }
        if not found["workers"]:
            raise NoWorkerError(found)
        return found

    async def _count_waiting(self, redis: Client) -> int:
        """Count the jobs that nobody has taken."""
        stream = self.stream
        length = int(await redis.xlen(stream))
        with suppress(ResponseError):  # no worker has ever been there
            return length - int((await redis.xpending(stream, GROUP))["pending"])
        return length


def _as_taskiq_reads_it(message: Message) -> bytes:
    """Write a message of taskiq, in its default format (`taskiq.message.TaskiqMessage` as JSON)."""
    written = {
        "task_id": message.id,
        "task_name": RUN,
        "labels": {},
        "args": [message.model_dump(mode="json")],
        "kwargs": {},
    }
    return json.dumps(written).encode()


def read(written: bytes) -> Message:
    """Read what taskiq reads.

    Raises:
        ValueError: nobody here has written it.
    """
    try:
        [content] = json.loads(written)["args"]
    except (KeyError, TypeError) as error:
        raise ValueError("no job of this service") from error
    return Message.model_validate(content)


@asynccontextmanager
async def _connected(settings: "CoreSettings") -> AsyncIterator[Queue]:
    if settings.parsed_redis_address is None:
        async with INLINE.connected(settings) as inline:
            yield inline
    else:
        yield TaskiqQueue(settings)


def _work(settings: "CoreSettings", start: Start) -> None:
    from app.core.jobs.backends.taskiq_worker import work  # noqa: PLC0415 - loads taskiq

    work(settings, start)


BACKEND = Backend(name="taskiq", connected=_connected, work=_work)
