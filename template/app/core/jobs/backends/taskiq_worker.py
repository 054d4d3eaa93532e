"""Jobs by taskiq, in a stream of Redis: how a worker takes and runs them.

The broker is our own, since it promises more than that of taskiq-redis: a job of a worker that died
is found although no other job comes; a job that still runs is nobody else's, however long it takes;
what is done leaves the stream; and any address of Redis will do.
"""

import asyncio
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from logging import WARNING, getLogger
from time import time
from typing import TYPE_CHECKING, Annotated, Any, cast
from uuid import uuid4

import structlog
from redis.exceptions import ResponseError
from taskiq import AckableMessage, AsyncBroker, BrokerMessage, Context, TaskiqDepends
from taskiq.acks import AcknowledgeType
from taskiq.receiver import Receiver

from app.core.jobs.attendance import going_on, keep_time, relay
from app.core.jobs.backends.base import Start
from app.core.jobs.backends.life import alive
from app.core.jobs.backends.taskiq import GROUP, RUN, TaskiqQueue, read
from app.core.jobs.message import Message
from app.core.jobs.port import current_queue
from app.core.jobs.running import finished, give_up, run
from app.core.redis.asking import AWAY, RedisAwayError
from app.core.redis.connection import Client, connected

if TYPE_CHECKING:
    from app.core.redis.address import Address
    from app.core.registry import CoreSettings

log = structlog.get_logger(logger_name="app.jobs")

BLOCK_SECONDS = 0.5
"""How late a job may be that was to wait."""
MOST_WORKERS = 5
"""How many workers may die over a job."""
UNKNOWN = "unknown"
"""Stands for the task of such a job that cannot be read."""
_FORGOTTEN_SECONDS = 86_400
_MOVED_AT_ONCE = 100

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
    identifier: bytes
    done: bool = False

    async def __call__(self) -> None:
        """Take the job out of the stream."""
        stream, identifier = self.broker.stream, self.identifier
        async with self.broker.client.pipeline(transaction=True) as pipe:
            pipe.xack(stream, GROUP, identifier)
            pipe.xdel(stream, identifier)
            await pipe.execute()
        self.done = True

    async def let_go(self) -> None:
        """Hold on to it no longer: it is done, or another worker is to do it."""
        self.broker.held.discard(self)
        if not self.done:
            # This worker lives, whatever has kept it from recording what became of the job.
            with suppress(*AWAY):
                await self.broker.claim([self.identifier], retrycount=0)


class StreamBroker(AsyncBroker):
    """Takes jobs out of the stream.

    Args:
        queue: puts them there.
        client: waits for jobs.
        silence: seconds after which a worker that does not hold on to its jobs counts as dead.
    """

    def __init__(self, queue: TaskiqQueue, client: Client, silence: float) -> None:
        super().__init__()
        self.queue = queue
        self.stream, self.delayed = queue.stream, queue.delayed
        self.client = client
        self.silence = silence
        self.consumer = uuid4().hex
        self.held: set[Delivery] = set()
        self._next_look: bytes = b"0-0"
        self.register_task(_runner(queue), task_name=RUN)

    async def kick(self, message: BrokerMessage) -> None:
        """Refuse to send: taskiq asks for a broker that can, but the queue does it without one.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("jobs are sent by the queue")

    async def listen(self) -> AsyncGenerator[AckableMessage, None]:
        """Take jobs one by one: new ones, and those of workers that died."""
        await self._join()
        while True:
            try:
                found = [*await self._read_new(), *await self._take_over()]
            except (RedisAwayError, *AWAY) as error:
                log.warning("no jobs: redis does not answer", reason=type(error).__name__)
                await asyncio.sleep(1)
                await self._join()
                continue
            taken = [(Delivery(self, each), content) for each, content in found]
            # All before the first: the next one may have to wait for a free place.
            self.held.update(delivery for delivery, _ in taken)
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
            except AWAY:
                continue  # listen says so

    async def hold_on(self) -> None:
        """Tell the other workers, for ever, that this one still has its jobs."""
        while True:
            await asyncio.sleep(self.silence / 4)
            if not (held := [each.identifier for each in self.held]):
                continue
            with suppress(*AWAY):
                await self.claim(held)

    async def claim(self, identifiers: list[bytes], retrycount: int | None = None) -> None:
        """Say of jobs that this worker has them, and how often they were taken."""
        await self.client.xclaim(
            *(self.stream, GROUP, self.consumer, 0, identifiers),
            retrycount=retrycount,
            justid=True,
        )

    async def _join(self) -> None:
        """Be one of the workers; where that cannot be said, a later read finds out."""
        with suppress(*AWAY):
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
            GROUP, self.consumer, {self.stream: ">"}, count=1, block=block
        )
        return found[0][1] if found else []

    async def _take_over(self) -> list[Any]:
        """Look on where the last look has ended: Redis looks at no more than ten at a time."""
        silence = round(self.silence * 1000)
        found = await self.client.xautoclaim(
            self.stream, GROUP, self.consumer, silence, start_id=self._next_look, count=1
        )
        self._next_look = found[0]
        return [each for each in found[1] if not await self._gave_up(*each)]

    async def _gave_up(self, identifier: bytes, content: dict[bytes, bytes]) -> bool:
        """Give up a job that has ended one worker after the other."""
        states = await self.client.xpending_range(
            self.stream, GROUP, min=identifier, max=identifier, count=1
        )
        if not states:
            return True  # whoever had it was not dead, and has done it meanwhile
        if states[0]["times_delivered"] <= MOST_WORKERS:
            return False
        try:
            message = read(content[b"data"])
        except ValueError:
            log.exception("job given up: its workers have died", stream_id=identifier.decode())
            finished(UNKNOWN, "given_up", 0.0)
        else:
            await give_up(message, self.queue)
        await Delivery(self, identifier)()
        return True


class _Receiver(Receiver):
    """Lets go of each job that has ended, also when nobody could be told of it."""

    async def callback(self, message: bytes | AckableMessage, raise_err: bool = False) -> None:
        """Run one job."""
        try:
            await super().callback(message, raise_err)
        finally:
            if isinstance(message, AckableMessage) and isinstance(message.ack, Delivery):
                await message.ack.let_go()


def _runner(queue: TaskiqQueue) -> Callable[..., Awaitable[None]]:
    """Make the function that taskiq calls for each job."""

    async def run_job(
        message: dict[str, Any], context: Annotated[Context, TaskiqDepends()]
    ) -> None:
        await run(Message.model_validate(message), queue, queue.time_limit)
        # Not before: what cannot be recorded, since Redis is away, is done by another worker.
        await context.ack()

    return run_job


def work(settings: "CoreSettings", start: Start) -> None:
    """Run jobs until this process is told to stop."""
    getLogger("taskiq").setLevel(WARNING)
    asyncio.run(_receive(settings, start))


async def _receive(settings: "CoreSettings", start: Start) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    address = cast("Address", settings.parsed_redis_address)  # see `app.core.jobs.worker`
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
        broker = StreamBroker(queue, client, settings.jobs_redelivery_seconds)
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
