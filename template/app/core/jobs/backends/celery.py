"""Jobs by Celery: its workers (prefork), its beat, and Redis between them.

Celery's tasks are not asynchronous. Each of its processes has one event loop, in a thread, and the
pieces of the service are started there after the fork: engines and clients belong to one loop and
one process.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from ssl import CERT_REQUIRED
from time import sleep
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import structlog
from anyio import to_thread
from celery import Celery, signals
from celery.beat import ScheduleEntry, Scheduler
from celery.exceptions import OperationalError, Reject
from celery.platforms import EX_FAILURE
from celery.schedules import BaseSchedule, schedstate
from celery.worker import state
from redis import Redis
from redis.exceptions import RedisError

from app.core.database.types import utc_now
from app.core.jobs.attendance import CLAIMED_SECONDS, LATE, going_on, relay
from app.core.jobs.backends.base import Backend, NoWorkerError, Queue, Start
from app.core.jobs.backends.deaths import run_counted
from app.core.jobs.backends.inline import BACKEND as INLINE
from app.core.jobs.backends.later import count, move_due, put_off
from app.core.jobs.backends.life import alive
from app.core.jobs.backends.redis import RedisStore
from app.core.jobs.message import Message, id_of
from app.core.jobs.port import current_queue, enqueued
from app.core.jobs.schedule import Schedule
from app.core.jobs.task import TASKS
from app.core.redis import RedisAwayError, link

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

log = structlog.get_logger(logger_name="app.jobs")

RUN = "run"
"""The one task that Celery knows; which of ours is meant stands in the message."""
QUEUE = "celery"
START_SECONDS = 60.0
PATIENCE_SECONDS = 5.0
HEALTH_CHECK_SECONDS = 5
PAUSE_SECONDS = 1.0
BEAT_LOOK_SECONDS = 5.0
REPLACED_AFTER_SECONDS = 5.0
"""A process that cannot start ends then: one that is gone sooner than its worker is ready would end
the worker, and the next one is forked at once."""


def make_celery(settings: "CoreSettings", **transport: Any) -> Celery:
    """Make Celery's application.

    Args:
        settings: where Redis is, and how jobs are run.
        transport: further options of the connection to Redis.
    """
    celery: Celery = Celery(settings.redis_key_prefix, set_as_current=False)
    celery.conf.update(
        broker_url=_broker_of(settings),
        broker_use_ssl={"ssl_cert_reqs": CERT_REQUIRED} if _encrypted(settings) else None,
        broker_transport_options={
            "global_keyprefix": f"{settings.redis_key_prefix}:",
            "visibility_timeout": settings.jobs_redelivery_seconds,
            "unacked_restore_interval": min(10, settings.jobs_redelivery_seconds / 3),
            "unacked_restore_throttle": 1,
            **transport,
        },
        broker_connection_retry_on_startup=True,
        accept_content=["json"],
        task_serializer="json",
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_concurrency=settings.jobs_at_once,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_proc_alive_timeout=START_SECONDS,
        worker_enable_remote_control=False,
        enable_utc=True,
        timezone="UTC",
    )
    return celery


def _broker_of(settings: "CoreSettings") -> str | None:
    """The address as Celery and redis-py read it: also that of Upstash says "encrypted"."""
    if settings.redis_address is None:
        return None
    written = settings.redis_address.get_secret_value()
    plain = written.removeprefix("redis://")
    return f"rediss://{plain}" if _encrypted(settings) and plain != written else written


def _encrypted(settings: "CoreSettings") -> bool:
    address = settings.parsed_redis_address
    return address is not None and address.encrypted


# --- the service: sends ---


class CeleryQueue:
    """Sends jobs to Celery's workers."""

    def __init__(self, settings: "CoreSettings") -> None:
        patience = {
            "socket_timeout": settings.redis_timeout,
            "socket_connect_timeout": settings.redis_timeout,
        }
        self.store = RedisStore()
        self.time_limit = timedelta(seconds=settings.jobs_time_limit_seconds)
        self.celery = make_celery(settings, **patience)
        self._prefix = settings.redis_key_prefix

    async def send(self, message: Message) -> None:
        """Hand a job to Celery at its time.

        A worker of Celery would take what waits, and hold it beside what it runs, without limit.

        Raises:
            RedisAwayError: Redis does not answer.
        """
        content = message.model_dump(mode="json")
        if message.not_before is not None and message.not_before > utc_now():
            await put_off(content, message.not_before)
        else:
            await self.hand_over(content)

    async def hand_over(self, content: dict[str, Any]) -> None:
        """Give a job to Celery's workers now.

        Raises:
            RedisAwayError: Redis does not answer.
        """
        if not link.answers:
            raise RedisAwayError("Redis does not answer")
        await to_thread.run_sync(self._hand_over, content)

    def _hand_over(self, content: dict[str, Any]) -> None:
        try:
            self.celery.send_task(
                RUN,
                kwargs={"message": content},
                task_id=content["id"],
                shadow=content["task"],
                retry=False,
            )
        except OperationalError as error:
            raise RedisAwayError("Redis does not answer") from error

    async def look(self) -> Mapping[str, Any]:
        """Count jobs and workers; each process of a worker counts.

        Raises:
            NoWorkerError: there is none.
        """
        queue, unacked = f"{self._prefix}:{QUEUE}", f"{self._prefix}:unacked"
        jobs = await link.ask(lambda redis: redis.llen(queue))
        found = {
            "backend": "celery",
            "workers": await self.store.workers(),
            "jobs": jobs,
            "waiting": jobs,
            "taken": await link.ask(lambda redis: redis.hlen(unacked)),
            "later": await count(),
        }
        if not found["workers"]:
            raise NoWorkerError(found)
        return found


@asynccontextmanager
async def _connected(settings: "CoreSettings") -> AsyncIterator[Queue]:
    if settings.parsed_redis_address is None:
        async with INLINE.connected(settings) as inline:
            yield inline
    else:
        yield CeleryQueue(settings)


# --- a worker: runs ---


class Process:
    """What one process of a worker has: its event loop, and the pieces of the service in it."""

    def __init__(self, settings: "CoreSettings", start: Start) -> None:
        self._settings = settings
        self._start = start
        self._stack = AsyncExitStack()
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self, **_: Any) -> None:
        """Start the loop and the pieces, after the fork; if that fails, end, and be replaced.

        Celery goes on after whatever is raised here, and gives this process jobs all the same.
        """
        try:
            self._begin()
        except BaseException:
            log.exception("worker process does not start")
            sleep(REPLACED_AFTER_SECONDS)
            os._exit(1)

    def _begin(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="jobs", daemon=True).start()
        self.do(self._enter_or_fail()).result(START_SECONDS)

    def end(self, **_: Any) -> None:
        """Stop the pieces, and the loop."""
        if self._loop is not None:
            self.do(self._stack.aclose()).result(self._settings.shutdown_grace_seconds)
            self._loop.call_soon_threadsafe(self._loop.stop)

    def perform(self, message: dict[str, Any]) -> None:
        """Run a job, and come back when it is done.

        Raises:
            Reject: what is to become of it could not be stored, so that it must come again.
        """
        try:
            self.do(self._run(Message.model_validate(message))).result()
        except Exception as error:
            log.warning("job comes again", reason=type(error).__name__)
            sleep(PAUSE_SECONDS)
            raise Reject(str(error), requeue=True) from error

    def do(self, work: Any) -> Any:
        """Have something done in the loop, and give its future."""
        if self._loop is None:
            raise RuntimeError("this process has no loop")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _enter_or_fail(self) -> None:
        """Enter; what would end the loop, and leave nobody to say so, fails instead."""
        try:
            await self._enter()
        except SystemExit as error:
            raise RuntimeError(str(error)) from error

    async def _enter(self) -> None:
        await self._stack.enter_async_context(self._start())
        queue = cast("CeleryQueue", current_queue())  # there is an address of Redis, see `work`
        seconds = self._settings.jobs_outbox_seconds
        await self._stack.enter_async_context(
            going_on(partial(relay, queue, seconds), partial(move_due, queue.hand_over))
        )
        await self._stack.enter_async_context(alive(RedisStore()))

    async def _run(self, message: Message) -> None:
        # What beat has sent, as `id_of` names it: in its process nobody would hear of that.
        if "@" in message.id and message.attempt == 1:
            enqueued(message.task)
        limit = timedelta(seconds=self._settings.jobs_time_limit_seconds)
        await run_counted(message, current_queue(), limit)


def _work(settings: "CoreSettings", start: Start) -> None:
    # Without these, a Redis that is gone without a word holds up the worker and its beat for good.
    celery = make_celery(
        settings,
        socket_timeout=PATIENCE_SECONDS,
        socket_connect_timeout=PATIENCE_SECONDS,
        socket_keepalive=True,
        health_check_interval=HEALTH_CHECK_SECONDS,
    )
    process = Process(settings, start)
    celery.task(name=RUN)(process.perform)
    celery.conf.beat_schedule = {
        name: {"task": RUN, "schedule": Times(task.schedule, app=celery)}
        for name, task in TASKS.items()
        if task.schedule
    }
    signals.setup_logging.connect(_leave_logging_alone)
    signals.worker_process_init.connect(process.begin)
    signals.worker_process_shutdown.connect(process.end)
    patience = settings.redis_timeout
    with Redis.from_url(
        celery.conf.broker_url, socket_timeout=patience, socket_connect_timeout=patience
    ) as redis:
        Claiming.redis, Claiming.prefix = redis, settings.redis_key_prefix
        worker = celery.Worker(
            pool="prefork", beat=True, scheduler=Claiming, quiet=True, optimization="fair"
        )
        watch = partial(_watch_beat, worker)
        signals.worker_ready.connect(watch)
        worker.start()
        raise SystemExit(worker.exitcode)


def _watch_beat(worker: Any, **_: Any) -> None:
    """Have a worker end, and be started again, that has lost its beat; Celery would not notice."""

    def look() -> None:
        if worker.beat.is_alive() or state.should_stop is not None:
            return
        log.error("worker stops: its beat has ended")
        state.should_stop = EX_FAILURE

    worker.timer.call_repeatedly(BEAT_LOOK_SECONDS, look)


def _leave_logging_alone(**_: Any) -> None:
    """Tell Celery that logging is set up."""


# --- its beat: sends what is due ---


class Times(BaseSchedule):  # type: ignore[misc] # untyped
    """The times of one of our schedules, as beat asks for them."""

    def __init__(self, schedule: Schedule, **options: Any) -> None:
        super().__init__(**options)
        self.times = schedule

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Tell whether it is time, and how many seconds are left until the next time."""
        now = utc_now()
        due = self.times.after(last_run_at.astimezone(UTC))
        if due > now:
            return schedstate(is_due=False, next=(due - now).total_seconds())
        return schedstate(is_due=True, next=(self.times.after(now) - now).total_seconds())

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """Tell how long it is until the next time."""
        return self.times.after(last_run_at.astimezone(UTC)) - utc_now()


class Claiming(Scheduler):  # type: ignore[misc] # untyped
    """A scheduler of which there may be several: each time is claimed before it is sent."""

    redis: Any = None
    prefix = ""

    def apply_async(
        self, entry: ScheduleEntry, producer: Any = None, advance: bool = True, **_: Any
    ) -> Any:
        """Send a task for its time, unless another beat has."""
        task, last = TASKS[entry.name], entry.last_run_at.astimezone(UTC)
        if task.schedule is None:
            return None
        due, claimer = task.schedule.after(last), uuid4().hex
        identifier = id_of(entry.name, due)
        message = Message(id=identifier, task=entry.name, arguments=task.dump(), once=task.once)
        while True:
            try:
                return self._send(message, claimer, producer)
            except (RedisError, OperationalError, OSError) as error:
                if utc_now() - due > LATE:
                    raise
                log.warning("what was due is not enqueued", reason=type(error).__name__)
                sleep(PAUSE_SECONDS)

    def _send(self, message: Message, claimer: str, producer: Any) -> Any:
        place = f"{self.prefix}:jobs:tick:{message.id}"
        lifetime = round(CLAIMED_SECONDS * 1000)
        claimed = self.redis.set(place, claimer, px=lifetime, nx=True)
        # What is claimed may be our own, by an earlier try.
        if not claimed and self.redis.get(place) != claimer.encode():
            return None
        return self.app.send_task(
            RUN,
            kwargs={"message": message.model_dump(mode="json")},
            producer=producer,
            retry=False,
        )


BACKEND = Backend(name="celery", connected=_connected, work=_work, holds_on=False, apart=True)
