"""Jobs by arq, in a sorted set of Redis.

arq holds redis-py below 6, and is in maintenance only: choose it for what is there already.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from logging import WARNING, getLogger
from typing import TYPE_CHECKING, Any, cast

import structlog
from arq import ArqRedis, Retry
from arq.constants import in_progress_key_prefix, job_key_prefix
from arq.worker import Worker, func
from redis.exceptions import RedisError

from app.core.database.types import utc_now
from app.core.jobs.attendance import going_on, keep_time, relay
from app.core.jobs.backends.base import Backend, NoWorkerError, Queue, Start
from app.core.jobs.backends.deaths import run_counted
from app.core.jobs.backends.inline import BACKEND as INLINE
from app.core.jobs.backends.life import alive
from app.core.jobs.backends.redis import RedisStore, key
from app.core.jobs.message import Message
from app.core.jobs.port import current_queue
from app.core.redis import link
from app.core.redis.connection import Client, connected

if TYPE_CHECKING:
    from arq.typing import WorkerCoroutine

    from app.core.redis.address import Address
    from app.core.registry import CoreSettings

log = structlog.get_logger(logger_name="app.jobs")

RUN = "run"
"""The one function that arq knows; which of ours is meant stands in the message."""
FOR_EVER = timedelta(days=30)
"""Longer than any job takes or waits: other things set the limits."""
PATIENCE_SECONDS = 5.0
PAUSE_SECONDS = 1.0
_MOST_TRIES = 1000
"""How often a job may have been left by workers that died; its own attempts are counted by us."""


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def _speaking_arq(client: Client) -> Any:
    """Give a client that knows arq's commands, on the connections of another one."""
    return ArqRedis(
        client.connection_pool,
        job_serializer=_dump,
        job_deserializer=json.loads,
        default_queue_name=key("arq"),
        expires_extra_ms=round(FOR_EVER.total_seconds() * 1000),
    )


class ArqQueue:
    """Sends jobs to arq's workers."""

    def __init__(self, settings: "CoreSettings") -> None:
        self.store = RedisStore()
        self.time_limit = timedelta(seconds=settings.jobs_time_limit_seconds)

    async def send(self, message: Message) -> None:
        """Put a job into the queue.

        arq runs nothing twice under one id, so each attempt has its own; services that share a
        Redis share the ids.
        """
        identifier = key(message.id, str(message.attempt))
        content, time = message.model_dump(mode="json"), message.not_before

        async def put(redis: Client) -> None:
            await _speaking_arq(redis).enqueue_job(
                RUN, content, _job_id=identifier, _defer_until=time
            )
            # arq has it end by itself, one day, and a Redis that is full takes away what does.
            await redis.persist(f"{job_key_prefix}{identifier}")

        await link.ask(put)

    async def look(self) -> Mapping[str, Any]:
        """Count jobs and workers.

        Raises:
            NoWorkerError: there is none.
        """
        found = {
            "backend": "arq",
            "workers": await self.store.workers(),
            "jobs": await link.ask(lambda redis: redis.zcard(key("arq"))),
            "waiting": await link.ask(_count_due),
        }
        if not found["workers"]:
            raise NoWorkerError(found)
        return found

    async def perform(self, _context: Any, message: dict[str, Any]) -> None:
        """Run a job.

        Raises:
            Retry: what is to become of it could not be stored, so that it must come again; or it
                came too early, and arq takes none of an id that it has.
        """
        job = Message.model_validate(message)
        if job.not_before is not None and (early := job.not_before - utc_now()) > timedelta():
            raise Retry(defer=early)
        try:
            await run_counted(job, self, self.time_limit)
        except Exception as error:
            raise Retry(defer=PAUSE_SECONDS) from error


class PatientWorker(Worker):
    """A worker that an outage of Redis does not end, nor the jobs that it runs."""

    _running = 0

    def run_job(self, job_id: str, score: int) -> Coroutine[Any, Any, None]:
        """Run a job that was taken."""
        self._running += 1
        return super().run_job(job_id, score)

    def _release_sem_dec_counter_on_complete(self) -> None:
        self._running -= 1
        super()._release_sem_dec_counter_on_complete()

    async def _poll_iteration(self) -> None:
        try:
            await super()._poll_iteration()
        except (RedisError, OSError) as error:
            log.warning("no jobs: redis does not answer", reason=type(error).__name__)
            if self.job_counter > self._running:
                # The job that it was about to take has kept its place.
                super()._release_sem_dec_counter_on_complete()
            await asyncio.sleep(PAUSE_SECONDS)


async def _count_due(redis: Client) -> int:
    """Count the jobs whose time has come; arq keeps those that run among them."""
    return int(await redis.zcount(key("arq"), "-inf", utc_now().timestamp() * 1000))


@asynccontextmanager
async def _connected(settings: "CoreSettings") -> AsyncIterator[Queue]:
    if settings.parsed_redis_address is None:
        async with INLINE.connected(settings) as inline:
            yield inline
    else:
        yield ArqQueue(settings)


def _work(settings: "CoreSettings", start: Start) -> None:
    getLogger("arq").setLevel(WARNING)
    asyncio.run(_receive(settings, start))


async def _receive(settings: "CoreSettings", start: Start) -> None:
    address = cast("Address", settings.parsed_redis_address)  # see `work`
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(start())
        queue = cast("ArqQueue", current_queue())
        client = await stack.enter_async_context(
            connected(address, patience=PATIENCE_SECONDS, max_connections=settings.jobs_at_once + 3)
        )
        perform = cast("WorkerCoroutine", queue.perform)  # arq's type wants any arguments
        worker = PatientWorker(
            [func(perform, name=RUN, timeout=FOR_EVER.total_seconds(), keep_result=0)],
            redis_pool=_speaking_arq(client),
            queue_name=key("arq"),
            max_jobs=settings.jobs_at_once,
            max_tries=_MOST_TRIES,
            poll_delay=0.2,
            job_completion_wait=settings.shutdown_grace_seconds,
            job_serializer=_dump,
            job_deserializer=json.loads,
            log_results=False,
        )
        worker.in_progress_timeout_s = settings.jobs_redelivery_seconds
        await stack.enter_async_context(
            going_on(
                partial(_hold_on, worker, client, settings.jobs_redelivery_seconds),
                partial(keep_time, queue),
                partial(relay, queue, settings.jobs_outbox_seconds),
            )
        )
        await stack.enter_async_context(alive(queue.store))
        with suppress(asyncio.CancelledError):
            await worker.async_run()
        await worker.close()


async def _hold_on(worker: Any, client: Client, silence: float) -> None:
    """Tell the other workers, for ever, that this one still has its jobs."""
    while True:
        await asyncio.sleep(silence / 4)
        with suppress(RedisError, OSError):
            for identifier in list(worker.tasks):
                name = f"{in_progress_key_prefix}{identifier}"
                await client.pexpire(name, round(silence * 1000))


BACKEND = Backend(name="arq", connected=_connected, work=_work)
