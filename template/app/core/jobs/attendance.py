"""What goes on beside the jobs: the clock that enqueues what is due, and the relay of outboxes.

Both may run in any number of processes. What is due is claimed, so that it is enqueued once.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from datetime import datetime, timedelta
from uuid import uuid4

import structlog

from app.core.database.types import utc_now
from app.core.jobs import port
from app.core.jobs.backends.base import Queue
from app.core.jobs.message import Message, id_of
from app.core.jobs.outbox import OUTBOXES
from app.core.jobs.task import TASKS

log = structlog.get_logger(logger_name="app.jobs")

CLAIMED_SECONDS = 600.0
"""How far the clocks of two machines may be apart, and how late a time may still be claimed."""
LATE = timedelta(seconds=CLAIMED_SECONDS / 2)
"""What could not be enqueued in time, since Redis was away, is skipped after this."""
PAUSE_SECONDS = 5.0
"""What goes on beside the jobs, and has failed, begins again after this."""
_AGAIN_SECONDS = 0.5


async def tick(queue: Queue, since: dict[str, datetime], claimer: str) -> None:
    """Wait for the next time of any schedule, and enqueue what is due then.

    Args:
        queue: where to.
        since: for each task, after when its times count; moved on once it is enqueued.
        claimer: who claims the times; the same when it is tried again.
    """
    now = utc_now()
    coming = {
        task.name: task.schedule.after(max(since.setdefault(task.name, now), now - LATE))
        for task in TASKS.values()
        if task.schedule
    }
    moment = min(coming.values())
    await asyncio.sleep(max(0.0, (moment - utc_now()).total_seconds()))
    now = max(moment, utc_now())
    for name, time in coming.items():
        if time <= now:
            await enqueue_due(queue, name, time, claimer)
            since[name] = now


async def enqueue_due(queue: Queue, name: str, moment: datetime, claimer: str) -> bool:
    """Enqueue a task for a time of its schedule, unless another process has.

    What this one has claimed by an earlier try, of which it never heard, is its own.

    Returns:
        Whether this one did.
    """
    task = TASKS[name]
    identifier = id_of(name, moment)
    if not await queue.store.claim(f"tick:{identifier}", claimer, CLAIMED_SECONDS):
        return False
    message = Message(id=identifier, task=name, arguments=task.dump(), once=task.once)
    try:
        await queue.send(message)
    except BaseException:
        with suppress(Exception):
            await queue.store.release(f"tick:{identifier}", claimer)
        raise
    port.enqueued(name)
    return True


async def keep_time(queue: Queue) -> None:
    """Enqueue what is due, for ever."""
    since: dict[str, datetime] = {}
    claimer = uuid4().hex
    while any(task.schedule for task in TASKS.values()):
        try:
            await tick(queue, since, claimer)
        except Exception:
            log.exception("what was due is not enqueued")
            await asyncio.sleep(1)


async def relay(queue: Queue, seconds: float) -> None:
    """Send what is left over in the outboxes, for ever."""
    while OUTBOXES:
        await asyncio.sleep(seconds)
        if not _is_current(queue):
            continue
        for outbox in OUTBOXES.values():
            try:
                while await outbox.relay(queue):
                    pass
            except Exception as error:  # noqa: BLE001 - whatever a queue or a database says
                log.warning("outbox not sent", reason=type(error).__name__)


def _is_current(queue: Queue) -> bool:
    return port._queue is queue


@asynccontextmanager
async def going_on(*work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Do several things beside the block until it is left, in a context of their own.

    One that fails begins again.
    """
    tasks = [asyncio.create_task(_go_on(each), context=Context()) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            await _end(task)


async def _end(task: "asyncio.Task[None]") -> None:
    """Wait for a task that was cancelled, and cancel it again if it goes on.

    A library may take the first time for a lost connection.
    """
    while not task.done():
        await asyncio.wait([task], timeout=_AGAIN_SECONDS)
        task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _go_on(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            return await work()
        except Exception:
            log.exception("something has ended that should go on: it begins again")
            await asyncio.sleep(PAUSE_SECONDS)
