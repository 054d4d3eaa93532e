"""Jobs by taskiq, in a stream of Redis.

The broker is our own, since it promises more than that of taskiq-redis: a job of a worker that died
is found although no other job comes; a job that still runs is nobody else's, however long it takes;
what is done leaves the stream; and any address of Redis will do.
"""

import asyncio
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from logging import WARNING, getLogger
from time import time
from typing import TYPE_CHECKING, Annotated, Any, cast
from uuid import uuid4

import structlog
from redis.exceptions import RedisError, ResponseError
from taskiq import AckableMessage, AsyncBroker, BrokerMessage, Context, TaskiqDepends, TaskiqMessage
from taskiq.acks import AcknowledgeType
from taskiq.receiver import Receiver

from app.core.jobs.attendance import going_on, keep_time, relay
from app.core.jobs.backends.base import Backend, NoWorkerError, Queue, Start
from app.core.jobs.backends.inline import BACKEND as INLINE
from app.core.jobs.backends.life import alive
from app.core.jobs.backends.redis import RedisStore, key
from app.core.jobs.message import Message
from app.core.jobs.port import current_queue
from app.core.jobs.running import finished, run
from app.core.redis import link
from app.core.redis.connection import Client, connected

if TYPE_CHECKING:
    from app.core.redis.address import Address
    from app.core.registry import CoreSettings

log = structlog.get_logger(logger_name="app.jobs")

RUN = "run"
"""The one task that taskiq knows; which of ours is meant stands in the message."""
GROUP = "workers"
BLOCK_SECONDS = 0.5
"""How late a job may be that was to wait."""
MOST_WORKERS = 5
"""How many workers may die over a job."""
UNKNOWN = "unknown"
"""Stands for the task of such a job: to read it may be what ends workers."""
_FORGOTTEN_SECONDS = 86_400
_MOVED_AT_ONCE = 100
_DUE = "due"

_MOVE_DUE = """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, job in ipairs(due) do
  redis.call('XADD', KEYS[2], '*', 'data', job)
  redis.call('ZREM', KEYS[1], job)
end
return #due
"""


@dataclass(slots=True, eq=False)
class Delivery:
    """A job that this worker has taken; called when it is done with."""

    broker: "StreamBroker"
    held: "set[Delivery]"
    identifier: bytes

    async def __call__(self) -> None:
        """Take the job out of the stream."""
        stream, identifier = self.broker.stream, self.identifier
        async with self.broker.client.pipeline(transaction=True) as pipe:
            pipe.xack(stream, GROUP, identifier)
            pipe.xdel(stream, identifier)
            await pipe.execute()

    def let_go(self) -> None:
        """Hold on to it no longer: it is done, or another worker is to do it."""
        self.held.discard(self)


@dataclass(slots=True, eq=False)
class _Fetched:
    """Where a worker is with its reading."""

    client: Client
    consumer: str = field(default_factory=lambda: uuid4().hex)
    held: "set[Delivery]" = field(default_factory=set)
    next_look: bytes = b"0-0"


class StreamBroker(AsyncBroker):
    """Puts jobs into a stream, and takes them out.

    Args:
        silence: seconds after which a worker that does not hold on to its jobs counts as dead.
    """

    def __init__(self, silence: float) -> None:
        super().__init__()
        self.stream, self.delayed = key("stream"), key("delayed")
        self.silence = silence
        self._fetched: _Fetched | None = None

    @property
    def client(self) -> Client:
        """The client of a worker, which waits for jobs.

        Raises:
            RuntimeError: this is no worker.
        """
        return self._reading.client

    @property
    def _reading(self) -> _Fetched:
        if self._fetched is None:
            raise RuntimeError("only a worker takes jobs")
        return self._fetched

    def read_by(self, client: Client) -> None:
        """Become the broker of a worker."""
        self._fetched = _Fetched(client)

    async def kick(self, message: BrokerMessage) -> None:
        """Send a job; one that is due later waits elsewhere until then."""
        due, data = message.labels.get(_DUE), message.message
        if due is None:
            await link.ask(lambda redis: redis.xadd(self.stream, {b"data": data}))
        else:
            await link.ask(lambda redis: redis.zadd(self.delayed, {data: due}))

    async def listen(self) -> AsyncGenerator[AckableMessage, None]:
        """Take jobs one by one: new ones, and those of workers that died."""
        await self._join()
        while True:
            try:
                found = [*await self._read_new(), *await self._take_over()]
            except (RedisError, OSError) as error:
                log.warning("no jobs: redis does not answer", reason=type(error).__name__)
                await asyncio.sleep(1)
                await self._join()
                continue
            held = self._reading.held
            taken = [(Delivery(self, held, each), content) for each, content in found]
            # All before the first: the next one may have to wait for a free place.
            held.update(delivery for delivery, _ in taken)
            for delivery, content in taken:
                yield AckableMessage(data=content[b"data"], ack=delivery)

    async def move_due(self) -> None:
        """Put what is due by now into the stream, for ever."""
        while True:
            await asyncio.sleep(BLOCK_SECONDS)
            try:
                await self.client.eval(
                    *(_MOVE_DUE, 2, self.delayed, self.stream, time(), _MOVED_AT_ONCE)
                )
            except (RedisError, OSError):
                continue  # listen says so

    async def hold_on(self) -> None:
        """Tell the other workers, for ever, that this one still has its jobs."""
        while True:
            await asyncio.sleep(self.silence / 4)
            if not (held := [each.identifier for each in self._reading.held]):
                continue
            try:
                await self.client.xclaim(
                    *(self.stream, GROUP, self._reading.consumer, 0, held), justid=True
                )
            except (RedisError, OSError):
                continue

    async def _join(self) -> None:
        """Be one of the workers; where that cannot be said, a later read finds out."""
        with suppress(RedisError, OSError):
            with suppress(ResponseError):  # it is there already
                await self.client.xgroup_create(self.stream, GROUP, id="0", mkstream=True)
            await self._forget_consumers()

    async def _forget_consumers(self) -> None:
        """Remove the names of workers that have long gone and have left nothing."""
        for each in await self.client.xinfo_consumers(self.stream, GROUP):
            if each["pending"] == 0 and each["idle"] > _FORGOTTEN_SECONDS * 1000:
                await self.client.xgroup_delconsumer(self.stream, GROUP, each["name"])

    async def _read_new(self) -> list[Any]:
        block = round(BLOCK_SECONDS * 1000)
        found = await self.client.xreadgroup(
            GROUP, self._reading.consumer, {self.stream: ">"}, count=1, block=block
        )
        return found[0][1] if found else []

    async def _take_over(self) -> list[Any]:
        """Look on where the last look has ended: Redis looks at no more than ten at a time."""
        reading, silence = self._reading, round(self.silence * 1000)
        found = await self.client.xautoclaim(
            self.stream, GROUP, reading.consumer, silence, start_id=reading.next_look, count=1
        )
        reading.next_look = found[0]
        return [each for each in found[1] if not await self._gave_up(each[0])]

    async def _gave_up(self, identifier: bytes) -> bool:
        """Give up a job that has ended one worker after the other."""
        states = await self.client.xpending_range(
            self.stream, GROUP, min=identifier, max=identifier, count=1
        )
        if not states:
            return True  # whoever had it was not dead, and has done it meanwhile
        if states[0]["times_delivered"] <= MOST_WORKERS:
            return False
        log.error("job given up: its workers have died", stream_id=identifier.decode())
        finished(UNKNOWN, "given_up", 0.0)
        await Delivery(self, self._reading.held, identifier)()
        return True


class _Receiver(Receiver):
    """Lets go of each job that has ended, also when nobody could be told of it."""

    async def callback(self, message: bytes | AckableMessage, raise_err: bool = False) -> None:
        """Run one job."""
        try:
            await super().callback(message, raise_err)
        finally:
            if isinstance(message, AckableMessage) and isinstance(message.ack, Delivery):
                message.ack.let_go()


class TaskiqQueue:
    """Sends jobs to the workers."""

    def __init__(self, settings: "CoreSettings") -> None:
        self.store = RedisStore()
        self.broker = StreamBroker(settings.jobs_redelivery_seconds)
        self.time_limit = timedelta(seconds=settings.jobs_time_limit_seconds)
        self.broker.register_task(_runner(self), task_name=RUN)

    async def send(self, message: Message) -> None:
        """Put a job into the stream."""
        sent = TaskiqMessage(
            task_id=message.id,
            task_name=RUN,
            labels={} if message.not_before is None else {_DUE: message.not_before.timestamp()},
            args=[message.model_dump(mode="json")],
            kwargs={},
        )
        await self.broker.kick(self.broker.formatter.dumps(sent))

    async def look(self) -> Mapping[str, Any]:
        """Count jobs and workers.

        Raises:
            NoWorkerError: there is none.
        """
        stream, delayed = self.broker.stream, self.broker.delayed
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
        stream = self.broker.stream
        length = int(await redis.xlen(stream))
        with suppress(ResponseError):  # no worker has ever been there
            return length - int((await redis.xpending(stream, GROUP))["pending"])
        return length


def _runner(queue: TaskiqQueue) -> Callable[..., Awaitable[None]]:
    """Make the function that taskiq calls for each job."""

    async def run_job(
        message: dict[str, Any], context: Annotated[Context, TaskiqDepends()]
    ) -> None:
        await run(Message.model_validate(message), queue, queue.time_limit)
        # Not before: what cannot be recorded, since Redis is away, is done by another worker.
        await context.ack()

    return run_job


@asynccontextmanager
async def _connected(settings: "CoreSettings") -> AsyncIterator[Queue]:
    if settings.parsed_redis_address is None:
        async with INLINE.connected(settings) as inline:
            yield inline
    else:
        yield TaskiqQueue(settings)


def _work(settings: "CoreSettings", start: Start) -> None:
    getLogger("taskiq").setLevel(WARNING)
    asyncio.run(_receive(settings, start))


async def _receive(settings: "CoreSettings", start: Start) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    address = cast("Address", settings.parsed_redis_address)  # see `work`
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(start())
        queue = cast("TaskiqQueue", current_queue())
        client = await stack.enter_async_context(
            connected(
                address,
                patience=BLOCK_SECONDS + 2 * settings.redis_timeout,
                max_connections=settings.jobs_at_once + 3,
            )
        )
        broker = queue.broker
        broker.read_by(client)
        broker.is_worker_process = True
        receiver = _Receiver(
            broker,
            max_async_tasks=settings.jobs_at_once,
            ack_type=AcknowledgeType.MANUAL,
            wait_tasks_timeout=settings.shutdown_grace_seconds,
        )
        await stack.enter_async_context(
            going_on(
                broker.move_due,
                broker.hold_on,
                partial(keep_time, queue),
                partial(relay, queue, settings.jobs_outbox_seconds),
            )
        )
        await stack.enter_async_context(alive(queue.store))
        await receiver.listen(stop)


BACKEND = Backend(name="taskiq", connected=_connected, work=_work)
