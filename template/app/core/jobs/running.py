"""How a job is run, whatever has carried it."""

import asyncio
from contextvars import Context
from datetime import timedelta
from time import perf_counter
from typing import Any

import structlog

from app.core import context
from app.core.database.types import utc_now
from app.core.errors import unexpected
from app.core.jobs.backends.base import Queue
from app.core.jobs.message import Message
from app.core.jobs.outbox import DoneBeforeError, remember
from app.core.jobs.port import RESULT_KEPT, Outcome, key_of, result_of
from app.core.jobs.scope import in_scope_of
from app.core.jobs.scopes import OwnerGoneError
from app.core.jobs.task import DEFAULT_RETRIES, TASKS, Task
from app.core.signals import Signal
from app.core.traces.trace import failed, job

log = structlog.get_logger(logger_name="app.jobs")

UNDER_WAY_SECONDS = 5.0
"""How long the result of a job that was just done may be on its way into the store."""

finished: Signal[[str, str, float]] = Signal()
"""Told of each attempt: its task; succeeded, retried or given_up; the seconds it took."""


class UnknownTaskError(Exception):
    """Nobody here knows the task: another version of the service has sent it."""


class JobEndedError(Exception):
    """The job has ended itself: by `sys.exit`, or by waiting for what was cancelled."""


class WorkersDiedError(Exception):
    """One worker after the other has died over the job."""


async def run(message: Message, queue: Queue, time_limit: timedelta) -> None:
    """Run a job in a context of its own: nobody is signed in there.

    A job that fails is enqueued again, as its task says, or given up; that is not raised.

    Args:
        message: the job.
        queue: where it goes when it fails.
        time_limit: how long a job may take whose task does not say so.

    Raises:
        Exception: what is to become of the job could not be stored, so it must come again.
    """
    if message.not_before is not None and message.not_before > utc_now():
        await queue.send(message)
        return
    await asyncio.create_task(_run(message, queue, time_limit), context=Context())


async def give_up(message: Message, queue: Queue) -> None:
    """End a job over which workers have died, as one that has failed for the last time.

    Raises:
        Exception: what is to become of the job could not be stored, so it must come again.
    """
    await asyncio.create_task(_give_up(message, queue), context=Context())


async def _give_up(message: Message, queue: Queue) -> None:
    _enter(message)
    task = TASKS.get(message.task)
    retries = task.retries if task else DEFAULT_RETRIES
    last = message.model_copy(update={"attempt": max(message.attempt, retries.times + 1)})
    outcome = await _after_failure(task, last, queue, WorkersDiedError("its workers have died"))
    finished(message.task, outcome, 0.0)


async def _run(message: Message, queue: Queue, time_limit: timedelta) -> None:
    _enter(message)
    with job(message.task, message.traceparent):
        await _attempt(message, queue, time_limit)


async def _attempt(message: Message, queue: Queue, time_limit: timedelta) -> None:
    if name := key_of(message):
        await queue.store.release(name, message.id)
    task, started = TASKS.get(message.task), perf_counter()
    try:
        value = await _do_or_fail(task, message, time_limit)
    except DoneBeforeError:
        log.info("job was done before")
        await _miss_result(task, message, queue)
    except OwnerGoneError:
        log.info("job left undone: its tenant was deleted")
        await _keep(task, message, queue, Outcome(failed=True))
    except Exception as error:  # noqa: BLE001 - whatever user code raises
        failed(error)
        seconds = perf_counter() - started
        outcome = await _after_failure(task, message, queue, error)
        finished(message.task, outcome, seconds)
    else:
        seconds = perf_counter() - started
        log.info("job done", duration_ms=round(seconds * 1000, 2), attempt=message.attempt)
        finished(message.task, "succeeded", seconds)
        await _keep(task, message, queue, Outcome(value=value))


def _enter(message: Message) -> None:
    context.request_id.set(message.request_id)
    context.traceparent.set(message.traceparent)
    said = {
        "job": message.task,
        "job_id": message.id,
        "tenant": message.tenant,
        "traceparent": message.traceparent,
    }
    context.job.set({name: value for name, value in said.items() if value is not None})


async def _do_or_fail(task: Task[..., Any] | None, message: Message, time_limit: timedelta) -> Any:
    """Do a job; what would end its process fails it instead."""
    try:
        return await _do(task, message, time_limit)
    except SystemExit as error:
        raise JobEndedError(str(error)) from error
    except asyncio.CancelledError as error:
        running = asyncio.current_task()
        if running is None or running.cancelling():
            raise  # the process ends, and the job comes again
        raise JobEndedError("cancelled") from error


async def _do(task: Task[..., Any] | None, message: Message, time_limit: timedelta) -> Any:
    if task is None:
        raise UnknownTaskError(message.task)
    arguments = task.load(message.arguments)
    limit = task.time_limit or time_limit
    async with asyncio.timeout(limit.total_seconds()), in_scope_of(message.tenant):
        if task.takes_session:
            return await _do_in_session(task, message, arguments)
        return _written(task, await task.function(**arguments))


async def _do_in_session(task: Task[..., Any], message: Message, arguments: dict[str, Any]) -> Any:
    async with task.database.session_context() as session:
        if message.once:
            await remember(session, task.database, message.id)
        return _written(task, await task.function(session, **arguments))


def _written(task: Task[..., Any], value: Any) -> Any:
    return task.result_type.dump_python(value, mode="json") if task.keeps_result else None


async def _after_failure(
    task: Task[..., Any] | None, message: Message, queue: Queue, error: Exception
) -> str:
    retries = task.retries if task else DEFAULT_RETRIES
    last = message.attempt > retries.times
    ends = last and not (message.kept and retries.times)
    seconds = 0.0 if ends else retries.wait(message.attempt)
    said: dict[str, Any] = {"attempt": message.attempt, "seconds": round(seconds, 2)}
    if last:
        said["arguments"] = sorted(message.arguments)  # their values may be nobody's business
        ending = "job given up" if ends else "job given up for now: it must not be lost"
        log.error(ending, exc_info=error, **said)
        unexpected(error)
    else:
        log.warning("job failed and will be done again", exc_info=error, **said)
    if ends:
        await _keep(task, message, queue, Outcome(failed=True))
    else:
        await _again(message, queue, seconds)
    return "given_up" if last else "retried"


async def _again(message: Message, queue: Queue, seconds: float) -> None:
    later = utc_now() + timedelta(seconds=seconds)
    again = {"attempt": message.attempt + 1, "not_before": later, "key": None}
    await queue.send(message.model_copy(update=again))


async def _keep(
    task: Task[..., Any] | None, message: Message, queue: Queue, outcome: Outcome
) -> None:
    if task is not None and task.keeps_result:
        seconds = RESULT_KEPT.total_seconds()
        name = result_of(message.tenant, message.id)
        await queue.store.put(name, outcome.model_dump_json(), seconds)


async def _miss_result(task: Task[..., Any] | None, message: Message, queue: Queue) -> None:
    """Tell whoever waits for a result that whoever did the job could not store it."""
    if task is None or not task.keeps_result:
        return
    name = result_of(message.tenant, message.id)
    if await queue.store.get(name) is None:
        await asyncio.sleep(UNDER_WAY_SECONDS)  # both may run at once
        lost = Outcome(failed=True, lost=True)
        # Claimed, not put: a result that has come meanwhile stays.
        await queue.store.claim(name, lost.model_dump_json(), RESULT_KEPT.total_seconds())
