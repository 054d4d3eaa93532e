"""The port of jobs, and how they are run, whatever carries them."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, InstanceOf, SecretStr
from sqlalchemy import MetaData, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app.config import Settings
from app.core import context, deadline
from app.core.application import create_app
from app.core.database import after_commit
from app.core.discovery import import_submodules
from app.core.errors import unexpected
from app.core.jobs import Job, JobFailedError, Outbox, Retries, attendance, enqueue, port, task
from app.core.jobs.attendance import LATE, enqueue_due, going_on, keep_time, tick
from app.core.jobs.backends import inline
from app.core.jobs.message import LONGEST_ID, Message, id_of
from app.core.jobs.outbox import OUTBOXES, remember
from app.core.jobs.piece import piece
from app.core.jobs.port import current_queue, result_of
from app.core.jobs.running import run
from app.core.jobs.schedule import parse_schedule
from app.core.jobs.task import TASKS
from app.core.shutdown import Drain
from tests.core.first_database import database
from tests.core.jobs.collected import Collected
from tests.core.jobs.tasks import (
    begun,
    fail_until,
    note,
    note_once,
    take_a_while,
    take_too_long,
    traces,
)
from tests.core.plugin import caller_of, with_changes

SOON = timedelta(seconds=20)
PATIENCE = 30


class Parcel(BaseModel):
    weight: float


@pytest.fixture(autouse=True)
def _no_tasks_are_left() -> Iterator[None]:
    before = dict(TASKS)
    yield
    TASKS.clear()
    TASKS.update(before)


# --- what a task is ---


async def test_arguments_arrive_as_they_were_sent(jobs: Collected) -> None:
    got: list[Any] = []

    @task
    async def take(identifier: UUID, at: datetime, *, parcel: Parcel, tags: set[str]) -> None:
        got.append((identifier, at, parcel, tags))

    sent = (uuid4(), datetime.now(UTC), Parcel(weight=1.5), {"a", "b"})
    await enqueue(take, sent[0], sent[1], parcel=sent[2], tags=sent[3])
    json.loads(jobs.waiting[0].model_dump_json())
    await jobs.run_all()
    assert got == [sent]


async def test_wrong_arguments_are_refused_at_once(jobs: Collected) -> None:
    @task
    async def take(number: int) -> None: ...

    with pytest.raises(ValueError, match="number"):
        await enqueue(take, "seven")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        await enqueue(take)  # type: ignore[call-arg]
    assert jobs.waiting == []


def test_two_tasks_with_one_name_are_refused() -> None:
    def make() -> None:
        @task(name="same")
        async def one() -> None: ...

    make()
    with pytest.raises(ValueError, match="two tasks with the name 'same'"):
        make()


def _sync() -> Any:
    def function() -> None: ...

    return function


def _untyped() -> Any:
    async def function(number) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    return function


def _starred() -> Any:
    async def function(*numbers: int) -> None: ...

    return function


def _secret() -> Any:
    class Account(BaseModel):
        key: SecretStr

    async def function(accounts: list[Account], nameless: InstanceOf[Collected]) -> None: ...

    return function


def test_a_job_may_have_examples_of_any_kind() -> None:
    example: Any = {"at": datetime.now(UTC)}

    class Shown(BaseModel):
        model_config = ConfigDict(json_schema_extra={"example": example})

        at: datetime

    @task
    async def take_shown(shown: Shown) -> None: ...

    assert take_shown.dump(Shown(at=datetime.now(UTC)))


@pytest.mark.parametrize("make", [_sync, _untyped, _starred, _secret])
def test_what_cannot_be_a_job_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="the task"):
        task(make())


async def test_what_is_done_once_needs_a_session_and_an_outbox(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TypeError, match="must take a session"):

        @task(once=True)
        async def without_session() -> None: ...

    @task(once=True)
    async def with_session(session: AsyncSession) -> None: ...

    monkeypatch.setattr(with_session.function, "__module__", "app.jobs.reports")
    import_submodules("app.models")
    monkeypatch.delitem(OUTBOXES, database, raising=False)
    assert piece.lifespan is not None
    with pytest.raises(RuntimeError, match="needs an `Outbox`"):
        async with piece.lifespan(settings):
            pass
    with pytest.raises(RuntimeError, match="jobs are done once where their ids are kept"):
        await remember(AsyncSession(), database, "an-id")


def test_a_database_has_one_outbox(outbox: Outbox) -> None:
    with pytest.raises(ValueError, match="has an outbox already"):
        Outbox(outbox.database, metadata=MetaData())


@pytest.mark.parametrize("given", ["", "every day", "61 * * * *", timedelta()])
def test_a_wrong_schedule_is_refused(given: str | timedelta) -> None:
    with pytest.raises(ValueError, match="schedule"):
        parse_schedule(given)


def test_times_of_schedules() -> None:
    at = datetime(2026, 2, 28, 3, 30, tzinfo=UTC)
    nightly = parse_schedule("30 3 * * *")
    assert nightly.after(at - timedelta(seconds=1)) == at
    assert nightly.after(at) == at + timedelta(days=1)
    assert parse_schedule(timedelta(minutes=20)).after(at) == at + timedelta(minutes=10)


# --- when it is sent ---


def test_jobs_want_a_service_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port, "_queue", None)
    with pytest.raises(RuntimeError, match="outside of the application's lifespan"):
        current_queue()


async def test_a_job_is_sent_after_the_commit(service: FastAPI, jobs: Collected) -> None:
    async with database.session_context():
        await enqueue(note, "inside")
        assert jobs.waiting == []
    assert [each.task for each in jobs.waiting] == [note.name]


async def test_a_job_is_sent_after_the_outermost_commit(service: FastAPI, jobs: Collected) -> None:
    async with database.read_session_context(), database.session_context():
        async with database.session_context():
            await enqueue(note, "inner")
        assert jobs.waiting == []
    assert len(jobs.waiting) == 1


async def test_a_job_of_an_inner_transaction_that_fails_is_not_sent(
    service: FastAPI, jobs: Collected
) -> None:
    async with database.session_context():
        with pytest.raises(RuntimeError, match="changed my mind"):
            await _enqueue_and_fail()
    assert jobs.waiting == []


async def _enqueue_and_fail() -> None:
    async with database.session_context():
        await enqueue(note, "never")
        raise RuntimeError("changed my mind")


async def test_a_request_that_fails_enqueues_nothing(service: FastAPI, jobs: Collected) -> None:
    async with caller_of(service) as caller:
        assert (await caller.post("/api/v1/notes/failing")).status_code == 500
        assert jobs.waiting == []
        assert (await caller.post("/api/v1/notes/fine")).status_code == 200
    assert len(jobs.waiting) == 1


async def test_what_outlives_a_transaction_sends_at_once(service: FastAPI, jobs: Collected) -> None:
    over = asyncio.Event()

    async def later() -> None:
        await over.wait()
        await enqueue(note, "late")

    async with database.session_context():
        started = asyncio.create_task(later())
    over.set()
    await started
    assert len(jobs.waiting) == 1


async def test_a_key_keeps_others_away_until_its_job_runs(jobs: Collected) -> None:
    @task
    async def count(number: int) -> None: ...

    for number in range(2):
        await enqueue(count.options(key="a"), number)
        await enqueue(count.options(key="b"), number)
    assert len(jobs.waiting) == 2
    await jobs.run_all()
    await enqueue(count.options(key="a"), 3)
    assert len(jobs.waiting) == 1


async def test_a_key_is_free_soon_when_its_job_was_never_sent(
    jobs: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    @task
    async def count() -> None: ...

    async def fail(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(port, "SENDING", timedelta())
        patched.setattr(jobs, "send", fail)
        patched.setattr(jobs.store, "release", fail)
        with pytest.raises(ConnectionError):
            await enqueue(count.options(key="a"))
    await enqueue(count.options(key="a"))
    assert len(jobs.waiting) == 1


async def test_a_delay_is_kept(jobs: Collected) -> None:
    await enqueue(note.options(delay=timedelta(hours=1)), "later")
    [message] = jobs.waiting
    assert message.not_before is not None
    left = message.not_before - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)


# --- how it is run ---


async def test_the_process_runs_its_jobs(service: FastAPI) -> None:
    context.traceparent.set("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    context.request_id.set("the-request")
    job = await enqueue(note, "here")
    assert await job.result(SOON) == {
        "request_id": "the-request",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "tenant": None,
        "principal": None,
        "client": None,
    }
    assert await traces("here") == [job.id]


async def test_a_job_that_fails_is_done_again(service: FastAPI) -> None:
    job = await enqueue(fail_until, "again", 2)
    assert await job.result(SOON) == 3
    assert await traces("again") == [job.id]


async def test_a_job_that_always_fails_is_given_up(service: FastAPI) -> None:
    job = await enqueue(fail_until, "never", 9)
    with pytest.raises(JobFailedError):
        await job.result(SOON)
    assert await traces("never") == []
    assert len(begun("never")) == 3


async def test_a_job_has_its_time(service: FastAPI) -> None:
    with pytest.raises(JobFailedError):
        await (await enqueue(take_too_long)).result(SOON)


async def _wait_for_what_was_cancelled() -> None:
    waited_for = asyncio.get_running_loop().create_future()
    waited_for.cancel()
    await waited_for


async def _exit() -> None:
    sys.exit("that was wrong")


@pytest.mark.parametrize("end", [_wait_for_what_was_cancelled, _exit])
async def test_a_job_that_ends_itself_has_failed(
    end: Callable[[], Awaitable[None]], jobs: Collected
) -> None:
    @task(retries=Retries(times=1), keeps_result=True)
    async def end_itself() -> None:
        await end()

    job = await enqueue(end_itself)
    assert await jobs.run_all() == [end_itself.name] * 2
    with pytest.raises(JobFailedError):
        await job.result(SOON)


async def test_a_job_whose_process_ends_has_not_failed(jobs: Collected) -> None:
    started = asyncio.Event()

    @task(retries=Retries(times=0))
    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    await enqueue(hang)
    running = asyncio.create_task(jobs.run_all())
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert jobs.waiting == []


async def test_what_follows_from_a_job_is_sent_although_it_is_ended_meanwhile(
    service: FastAPI, jobs: Collected
) -> None:
    reached, going = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        reached.set()
        await going.wait()

    @task
    async def lead(session: AsyncSession) -> None:
        after_commit(session, wait)
        await enqueue(note, "follows")

    await enqueue(lead)
    running = asyncio.create_task(jobs.run_all())
    await reached.wait()
    running.cancel()
    await asyncio.sleep(0)
    going.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [message.task for message in jobs.waiting] == [note.name]


async def test_what_follows_from_a_job_is_sent_although_it_is_ended_after_the_commit(
    service: FastAPI, jobs: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = Session.close

    def close_and_end(session: Session) -> None:
        running.cancel()
        close(session)

    @task
    async def lead(session: AsyncSession) -> None:
        await session.execute(select(1))
        await enqueue(note, "follows")

    monkeypatch.setattr(Session, "close", close_and_end)
    await enqueue(lead)
    running = asyncio.create_task(jobs.run_all())
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [message.task for message in jobs.waiting] == [note.name]


async def test_a_job_does_not_have_the_deadline_of_its_request(service: FastAPI) -> None:
    @task(keeps_result=True)
    async def tell() -> float | None:
        return deadline.remaining()

    with deadline.within(1):
        assert await (await enqueue(tell)).result(SOON) is None


async def test_a_job_that_nobody_knows_waits_for_who_does(jobs: Collected) -> None:
    await enqueue(note, "x")
    jobs.waiting[0].task = "from.the.future"
    [message] = jobs.waiting
    jobs.waiting.clear()
    await _run(message, jobs)
    assert (jobs.waiting[0].task, jobs.waiting[0].attempt) == ("from.the.future", 2)
    told: list[Exception] = []
    with unexpected.heard_by(told.append):
        await _run(message.model_copy(update={"attempt": 99}), jobs)
    assert [(type(error).__name__, str(error)) for error in told] == [
        ("UnknownTaskError", "from.the.future")
    ]


async def _run(message: Any, jobs: Collected) -> None:
    from app.core.jobs.running import run  # noqa: PLC0415

    await run(message, jobs, SOON)


def test_waits_grow_and_differ() -> None:
    retries = Retries(times=9, first=1, longest=60)
    waits = {retries.wait(3) for _ in range(20)}
    assert len(waits) > 1
    assert all(2 <= wait <= 4 for wait in waits)
    assert retries.wait(10_000) <= 60
    assert Retries(times=2, first=1, longest=60).wait(3) >= 30  # of a job that goes on


def test_a_database_that_is_moved_is_waited_for() -> None:
    retries = Retries()
    assert sum(map(retries.wait, range(1, retries.times + 1))) > 20 * 60


async def test_a_result_must_be_kept_to_be_asked_for(jobs: Collected) -> None:
    job = await enqueue(note_once, "x")
    with pytest.raises(RuntimeError, match="does not keep results"):
        await job.result(SOON)


@pytest.fixture
def counting(
    service: FastAPI, jobs: Collected, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Awaitable[Job[int]]]:
    """Has a job done once whose result is kept, and which waits again then."""
    monkeypatch.setattr("app.core.jobs.running.UNDER_WAY_SECONDS", 0.01)

    @task(once=True, keeps_result=True)
    async def count(session: AsyncSession) -> int:
        return 1

    async def do() -> Job[int]:
        job = await enqueue(count)
        again = list(jobs.waiting)
        with suppress(ConnectionError):
            await jobs.run_all()
        jobs.waiting = again
        return job

    return do


async def test_whoever_waits_for_a_result_that_was_lost_is_told(
    counting: Callable[[], Awaitable[Job[int]]], jobs: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as away:
        away.setattr(jobs.store, "put", refuse)
        job = await counting()
    await jobs.run_all()
    with pytest.raises(JobFailedError, match="was done, but its result is lost"):
        await job.result(SOON)


async def test_a_job_that_comes_again_leaves_its_result(
    counting: Callable[[], Awaitable[Job[int]]], jobs: Collected
) -> None:
    job = await counting()
    await jobs.run_all()
    assert await job.result(SOON) == 1


async def test_a_job_that_comes_again_leaves_a_result_that_is_just_stored(
    counting: Callable[[], Awaitable[Job[int]]], jobs: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await counting()
    kept = jobs.store.get

    async def not_yet(name: str) -> None:
        monkeypatch.setattr(jobs.store, "get", kept)

    monkeypatch.setattr(jobs.store, "get", not_yet)
    await jobs.run_all()
    assert await job.result(SOON) == 1


async def test_a_result_belongs_to_a_tenant(
    jobs: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    def belongs_to(tenant: str) -> None:
        monkeypatch.setattr("app.core.jobs.port.tenant_of_jobs", lambda: tenant)

    @task(keeps_result=True)
    async def count() -> int:
        return 1

    belongs_to("a")
    job = await enqueue(count)
    jobs.waiting.clear()
    await jobs.store.put(result_of("a", job.id), '{"value": 1}', 60)
    belongs_to("b")
    assert await job.result(SOON) == 1
    async with asyncio.timeout(SOON.total_seconds()):
        with pytest.raises(TimeoutError):
            await Job(count, job.id).result(timedelta())


async def test_the_end_waits_for_what_runs(committing: Settings, service: FastAPI) -> None:
    async with inline.BACKEND.connected(committing) as queue:
        with_queue = current_queue()
        assert with_queue is not queue
        await queue.send(_message("finished"))
    assert len(await traces("finished")) == 1


async def test_what_ends_with_the_service_may_send_another_job(committing: Settings) -> None:
    begun, going, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @task
    async def second() -> None:
        ended.set()

    @task
    async def first() -> None:
        begun.set()
        await going.wait()
        await enqueue(second)

    app = create_app(committing)
    async with app.router.lifespan_context(app):
        await enqueue(first)
        await begun.wait()
        asyncio.get_running_loop().call_later(0.2, going.set)
    assert ended.is_set()


@pytest.mark.parametrize(("seconds", "requests_took"), [(1, None), (1000, 999)])
async def test_the_end_does_not_wait_for_ever(
    committing: Settings,
    service: FastAPI,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
    requests_took: int | None,
) -> None:
    """Jobs and requests in flight have one time together: longer than that no process is let."""
    started = asyncio.Event()
    ended_at = None if requests_took is None else monotonic() - requests_took
    monkeypatch.setattr(Drain, "ended_at", ended_at)

    @task
    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    async with asyncio.timeout(PATIENCE):
        hasty = with_changes(committing, shutdown_grace_seconds=seconds)
        async with inline.BACKEND.connected(hasty) as queue:
            await queue.send(port.compose(hang, hang.dump()))
            await started.wait()


async def test_no_more_run_at_once_than_may(committing: Settings, service: FastAPI) -> None:
    at_work, two, going = list[None](), asyncio.Event(), asyncio.Event()

    @task
    async def work() -> None:
        at_work.append(None)
        if len(at_work) == 2:
            two.set()
        await going.wait()

    async with inline.BACKEND.connected(with_changes(committing, jobs_at_once=2)) as queue:
        for _ in range(6):
            await queue.send(port.compose(work, work.dump()))
        async with asyncio.timeout(PATIENCE):
            await two.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(at_work) == 2
        going.set()
        async with asyncio.timeout(PATIENCE):
            while (await queue.look())["running"]:  # noqa: ASYNC110 - nobody here is told
                await asyncio.sleep(0.01)
    assert len(at_work) == 6


async def test_a_service_without_a_worker_keeps_its_schedules(
    committing: Settings, service: FastAPI
) -> None:
    done = asyncio.Event()
    TASKS.clear()

    @task(schedule=timedelta(seconds=1))
    async def often() -> None:
        done.set()

    async with asyncio.timeout(PATIENCE), inline.BACKEND.connected(committing):
        await done.wait()


def _message(text: str) -> Any:
    return port.compose(take_a_while, take_a_while.dump(text))


# --- schedules ---


async def test_what_is_due_is_enqueued_once(jobs: Collected) -> None:
    @task(schedule=timedelta(seconds=1))
    async def often() -> None: ...

    TASKS.clear()
    TASKS[often.name] = often
    start = datetime.now(UTC) - timedelta(seconds=5)
    since, due = {often.name: start}, parse_schedule(timedelta(seconds=1)).after(start)
    await tick(jobs, since, "one")
    await tick(jobs, {often.name: start}, "other")
    assert await enqueue_due(jobs, often.name, due, "other") is False
    await tick(jobs, since, "one")
    assert len({message.id for message in jobs.waiting}) == len(jobs.waiting) == 2


async def test_what_could_not_be_enqueued_in_time_is_enqueued_late(
    jobs: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    @task(schedule=timedelta(seconds=1))
    async def first() -> None: ...

    @task(schedule=timedelta(seconds=1))
    async def second() -> None: ...

    TASKS.clear()
    TASKS.update({each.name: each for each in (first, second)})
    now = datetime.now(UTC)  # for all of it: nothing else falls due meanwhile
    monkeypatch.setattr("app.core.jobs.attendance.utc_now", lambda: now)
    start = now - timedelta(seconds=5)
    since = dict.fromkeys(TASKS, start)
    with monkeypatch.context() as patched:
        patched.setattr(jobs, "send", _failing_after(1, jobs))
        with pytest.raises(ConnectionError):
            await tick(jobs, since, "one")
    await tick(jobs, since, "one")
    due = parse_schedule(timedelta(seconds=1)).after(start)
    assert [message.id for message in jobs.waiting] == [id_of(name, due) for name in TASKS]


async def test_what_was_claimed_unheard_is_enqueued_by_the_next_try(
    jobs: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    @task(schedule=timedelta(seconds=1))
    async def often() -> None: ...

    TASKS.clear()
    TASKS[often.name] = often
    unheard: list[str] = []
    claim = jobs.store.claim

    async def claim_unheard(name: str, owner: str, seconds: float) -> bool:
        answer = await claim(name, owner, seconds)
        if not unheard:
            unheard.append(name)
            raise ConnectionError
        return answer

    monkeypatch.setattr(jobs.store, "claim", claim_unheard)
    async with asyncio.timeout(SOON.total_seconds()), going_on(partial(keep_time, jobs)):
        while not jobs.waiting:  # noqa: ASYNC110 - nobody here is told
            await asyncio.sleep(0.02)
    assert unheard == [f"tick:{jobs.waiting[0].id}"]


async def test_what_was_due_long_ago_is_skipped(jobs: Collected) -> None:
    @task(schedule=timedelta(seconds=1))
    async def often() -> None: ...

    TASKS.clear()
    TASKS[often.name] = often
    await tick(jobs, {often.name: datetime.now(UTC) - timedelta(days=1)}, "one")
    assert jobs.waiting[0].id > id_of(often.name, datetime.now(UTC) - 1.1 * LATE)


def _failing_after(times: int, jobs: Collected) -> Callable[[Message], Awaitable[None]]:
    """Send so many jobs, and then no more."""
    send = jobs.send

    async def send_some(message: Message) -> None:
        if len(jobs.waiting) == times:
            raise ConnectionError
        await send(message)

    return send_some


def test_ids_of_what_comes_by_itself_fit_into_the_outbox() -> None:
    at = datetime(2026, 2, 28, 3, 30, tzinfo=UTC)
    assert id_of("documents.purge", at) == "documents.purge@2026-02-28T03:30:00"
    long = [id_of(f"{'x' * 60}{number}", at) for number in range(2)]
    assert len(set(long)) == 2
    assert all(len(each) <= LONGEST_ID for each in long)


# --- the outbox ---


async def waiting(outbox: Outbox) -> int:
    async with database.session_context() as session:
        return int(await session.scalar(select(func.count()).select_from(outbox.waiting)) or 0)


async def test_the_outbox_sends_after_the_commit(
    service: FastAPI, outbox: Outbox, jobs: Collected
) -> None:
    async with database.session_context() as session:
        await outbox.add(session, note_once, "sure")
        assert jobs.waiting == []
    assert (len(jobs.waiting), await waiting(outbox)) == (1, 0)


async def test_what_was_not_sent_is_relayed(
    service: FastAPI, outbox: Outbox, jobs: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "_send_now", die)
        async with database.session_context() as session:
            job = await outbox.add(session, note_once, "relayed")
    assert (jobs.waiting, await waiting(outbox)) == ([], 1)
    assert await outbox.relay(jobs) == 0  # it is left to the sender for a while
    due = datetime.now(UTC) + timedelta(minutes=1)
    assert (await outbox.relay(jobs, due=due), await waiting(outbox)) == (1, 0)
    jobs.waiting *= 2
    await jobs.run_all()
    assert await traces("relayed") == [job.id]


async def _store(outbox: Outbox, **messages: str) -> datetime:
    """Put rows into an outbox, in this order, and tell when all are due."""
    now = datetime.now(UTC)
    async with database.session_context() as session:
        for seconds, (identifier, message) in enumerate(messages.items()):
            due_at = now + timedelta(seconds=seconds)
            values = {"id": identifier, "due_at": due_at, "message": message}
            await session.execute(insert(outbox.waiting).values(**values))
    return now + timedelta(minutes=1)


def _written(text: str) -> str:
    return str(_message(text).model_dump_json())


async def test_what_nobody_can_read_does_not_hold_the_others_up(
    service: FastAPI, outbox: Outbox, jobs: Collected
) -> None:
    due = await _store(outbox, unreadable='{"task": 1}', readable=_written("readable"))
    assert await outbox.relay(jobs, due=due) == 1
    assert await outbox.relay(jobs, due=due) == 0
    async with database.session_context() as session:
        assert list(await session.scalars(select(outbox.waiting.c.id))) == ["unreadable"]
        await session.execute(outbox.waiting.delete())


async def test_what_was_sent_is_not_sent_again_when_the_next_one_cannot_be(
    service: FastAPI, outbox: Outbox, jobs: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = await _store(outbox, first=_written("first"), second=_written("second"))
    with monkeypatch.context() as patched:
        patched.setattr(jobs, "send", _failing_after(1, jobs))
        with pytest.raises(ConnectionError):
            await outbox.relay(jobs, due=due)
    assert await outbox.relay(jobs, due=due) == 1
    assert [each.arguments["text"] for each in jobs.waiting] == ["first", "second"]


@pytest.mark.parametrize("times", [0, 1])
async def test_a_job_of_the_outbox_goes_on(
    service: FastAPI, outbox: Outbox, jobs: Collected, times: int
) -> None:
    """Not if its task wants no second attempt."""

    @task(retries=Retries(times=times))
    async def fail(session: AsyncSession) -> None:
        raise RuntimeError

    async with database.session_context() as session:
        await outbox.add(session, fail)
    for attempt in range(2, 5):
        message = jobs.waiting.pop()
        await run(message.model_copy(update={"not_before": None}), jobs, SOON)
        if not times:
            break
        assert [each.attempt for each in jobs.waiting] == [attempt]
    assert bool(jobs.waiting) == bool(times)
    await jobs.run_all()  # where it does come to its end
    assert jobs.waiting == []


async def test_the_outbox_takes_only_what_can_be_done_once(
    service: FastAPI, outbox: Outbox
) -> None:
    async with database.session_context() as session:
        with pytest.raises(TypeError, match="must take a session"):
            await outbox.add(session, take_too_long)


async def test_what_misses_that_it_is_to_end_is_told_again() -> None:
    missed = False

    async def work() -> None:
        nonlocal missed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if missed:
                    raise
                missed = True

    async def block() -> None:
        async with going_on(work):
            await asyncio.sleep(0)

    ended, _ = await asyncio.wait([asyncio.create_task(block())], timeout=20)
    assert missed
    assert ended


async def test_what_should_go_on_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attendance, "PAUSE_SECONDS", 0)
    begun, again = list[str](), asyncio.Event()

    async def work() -> None:
        begun.append("work")
        if len(begun) == 1:
            raise RuntimeError
        again.set()

    async with asyncio.timeout(20), going_on(work):
        await again.wait()
    assert len(begun) == 2


async def test_health_counts_jobs(service: FastAPI) -> None:
    async with caller_of(service) as caller:
        answer = await caller.get("/health/detailed")
    assert answer.json()["components"]["jobs"]["details"]["backend"] == "none"
