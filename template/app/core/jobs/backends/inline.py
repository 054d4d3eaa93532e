"""Jobs that run in the process that has enqueued them, while it serves requests.

They are not kept anywhere else: what waits for its time, or for another attempt, is lost when the
process ends. What runs by then is finished, in the time that requests in flight have, too.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from app.core.database.types import utc_now
from app.core.jobs.attendance import going_on, keep_time, relay
from app.core.jobs.backends.base import Backend
from app.core.jobs.backends.memory import MemoryStore
from app.core.jobs.message import Message
from app.core.jobs.running import run
from app.core.shutdown import left_of

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

log = structlog.get_logger(logger_name="app.jobs")


class InlineQueue:
    """The jobs of this process."""

    def __init__(self, settings: "CoreSettings") -> None:
        self.store = MemoryStore()
        self._time_limit = timedelta(seconds=settings.jobs_time_limit_seconds)
        self._slots = asyncio.Semaphore(settings.jobs_at_once)
        self._waiting: set[asyncio.Task[None]] = set()
        self._running: set[asyncio.Task[None]] = set()

    async def send(self, message: Message) -> None:
        """Run a job in the background, at its time."""
        task = asyncio.create_task(self._run_in_time(message), context=Context())
        self._waiting.add(task)
        task.add_done_callback(self._running.discard)

    async def look(self) -> Mapping[str, Any]:
        """Count the jobs."""
        return {"backend": "none", "waiting": len(self._waiting), "running": len(self._running)}

    async def finish(self, seconds: float) -> None:
        """Let the jobs that run come to their end, and give up those that wait."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.sleep(0)  # what was just sent begins
                while self._running:
                    # One that ends may have sent another one.
                    await asyncio.wait(set(self._running), return_when=asyncio.FIRST_COMPLETED)
                    await asyncio.sleep(0)
        lost = self._running | self._waiting
        for task in lost:
            task.cancel()
        await asyncio.gather(*lost, return_exceptions=True)
        if lost:
            log.error("jobs are lost: the process ends", count=len(lost))

    async def _run_in_time(self, message: Message) -> None:
        if message.not_before is not None:
            await asyncio.sleep((message.not_before - utc_now()).total_seconds())
        if task := asyncio.current_task():
            self._waiting.discard(task)
            self._running.add(task)
        async with self._slots:
            await run(message.model_copy(update={"not_before": None}), self, self._time_limit)


@asynccontextmanager
async def _connected(settings: "CoreSettings") -> AsyncIterator[InlineQueue]:
    queue = InlineQueue(settings)
    log.warning("jobs run in this process, and those that wait end with it")
    if settings.web_concurrency > 1:
        log.warning("schedules run in each process: a worker runs them once")
    try:
        async with going_on(
            partial(keep_time, queue), partial(relay, queue, settings.jobs_outbox_seconds)
        ):
            yield queue
    finally:
        await queue.finish(left_of(settings.shutdown_grace_seconds))


BACKEND = Backend(name="none", connected=_connected)
