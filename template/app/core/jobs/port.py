"""The port by which all code enqueues jobs: `await enqueue(greet, "Ada")`.

Inside of a transaction the job is sent once that is committed, and never when it is rolled back.
A job that cannot be sent then is logged and lost: what must not be lost goes through an `Outbox`.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Generic, ParamSpec, TypeVar

import structlog
from pydantic import BaseModel

from app.core import context
from app.core.database.handle import when_committed
from app.core.database.types import utc_now, uuid7
from app.core.jobs.backends.base import Queue
from app.core.jobs.message import Message
from app.core.jobs.scope import tenant_of_jobs
from app.core.jobs.task import Task
from app.core.signals import Signal
from app.core.traces.trace import traceparent

P = ParamSpec("P")
R = TypeVar("R")
log = structlog.get_logger(logger_name="app.jobs")

LONGEST_KEY = timedelta(days=1)
"""After this a key is free again, whatever became of its job."""
SENDING = timedelta(minutes=1)
"""After this it is free again when its job was never sent, and nobody could say so."""
RESULT_KEPT = timedelta(hours=1)
_FIRST_LOOK, _LONGEST_LOOK = 0.02, 0.5

enqueued: Signal[[str]] = Signal()
"""Told of each job that was sent for its first attempt: its task."""

_queue: Queue | None = None


class JobFailedError(Exception):
    """A job whose result was waited for has failed for good, or its result was lost."""


class Outcome(BaseModel):
    """How a job ended; a result that was lost counts as a failure."""

    failed: bool = False
    lost: bool = False
    value: Any = None

    @property
    def ending(self) -> str:
        """What became of a job that has no result."""
        return "was done, but its result is lost" if self.lost else "has failed"


class Job(Generic[R]):
    """A job that was enqueued by the tenant at hand."""

    def __init__(self, task: Task[..., R], identifier: str) -> None:
        self.task = task
        self.id = identifier
        self._tenant = tenant_of_jobs()

    async def result(self, wait: timedelta) -> R:
        """Wait for what the function returns; its task has `keeps_result`.

        Raises:
            TimeoutError: the job has not ended yet.
            JobFailedError: it failed for good, or was done, but its result was lost.
            RuntimeError: the task does not keep results.
        """
        if not self.task.keeps_result:
            raise RuntimeError(f"the task {self.task.name!r} does not keep results")
        name, store, pause = result_of(self._tenant, self.id), current_queue().store, _FIRST_LOOK
        async with asyncio.timeout(wait.total_seconds()):
            while (text := await store.get(name)) is None:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_LOOK)
        outcome = Outcome.model_validate_json(text)
        if outcome.failed:
            raise JobFailedError(f"the job {self.id} {outcome.ending}")
        found: R = self.task.result_type.validate_python(outcome.value)
        return found


@contextmanager
def sending_to(queue: Queue) -> Iterator[None]:
    """Send all jobs there until the block is left."""
    global _queue  # noqa: PLW0603 - one port for all code
    before, _queue = _queue, queue
    try:
        yield
    finally:
        _queue = before


def current_queue() -> Queue:
    """Where jobs are sent to.

    Raises:
        RuntimeError: the application does not run.
    """
    if _queue is None:
        raise RuntimeError("jobs are enqueued outside of the application's lifespan")
    return _queue


async def enqueue(task: Task[P, R], *args: P.args, **kwargs: P.kwargs) -> Job[R]:
    """Have a job done: as soon as what is being written here is committed, or at once.

    Raises:
        TypeError: these are not the arguments of the function.
        ValueError: an argument is not of its type.
        ServiceUnavailableError: outside of a transaction, when nobody takes the job.
    """
    queue = current_queue()
    message = compose(task, task.dump(*args, **kwargs))

    async def hand_over() -> None:
        await send(queue, message)

    await when_committed(hand_over)
    return Job(task, message.id)


def compose(task: Task[..., Any], arguments: dict[str, Any]) -> Message:
    """Write a job down, with what it belongs to here and now."""
    return Message(
        id=uuid7().hex,
        task=task.name,
        arguments=arguments,
        not_before=utc_now() + task.delay if task.delay else None,
        key=task.key,
        once=task.once,
        tenant=tenant_of_jobs(),
        request_id=context.request_id.get(),
        traceparent=traceparent(),
    )


async def send(queue: Queue, message: Message) -> None:
    """Send a job, unless another one of its key waits already."""
    if name := key_of(message):
        sent = await _send_alone(queue, message, name)
    else:
        await queue.send(message)
        sent = True
    if sent:
        enqueued(message.task)


async def _send_alone(queue: Queue, message: Message, name: str) -> bool:
    """Send a job if it gets the name of its key, and tell whether it did.

    The name is taken for a short time, and for long only when the job is sent: what is away while
    the job is sent may be away as well when the name is to be given back.
    """
    try:
        if not await queue.store.claim(name, message.id, SENDING.total_seconds()):
            log.info("job waits already", job=message.task, key=message.key)
            return False
        await queue.send(message)
    except BaseException:
        with suppress(Exception):
            await queue.store.release(name, message.id)
        raise
    try:
        await queue.store.keep(name, message.id, LONGEST_KEY.total_seconds())
    except Exception as error:  # noqa: BLE001 - the job is sent, whatever a store says
        log.warning("key not kept", job=message.task, reason=type(error).__name__)
    return True


def key_of(message: Message) -> str | None:
    """What a job's key is called in the store: each tenant has its own."""
    if message.key is None:
        return None
    return f"key:{message.task}:{message.tenant or ''}:{message.key}"


def result_of(tenant: str | None, identifier: str) -> str:
    """What a job's result is called in the store: no tenant can read another one's."""
    return f"result:{tenant or ''}:{identifier}"
