"""What the service does besides Celery."""

import asyncio
from asyncio import StreamReader, StreamWriter, open_connection
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from celery.beat import ScheduleEntry
from celery.exceptions import OperationalError
from redis import Redis
from sqlalchemy import make_url

from app.config import Settings
from app.core.jobs import task
from app.core.jobs.attendance import LATE
from app.core.jobs.backends import celery as backend
from app.core.jobs.backends import later
from app.core.jobs.backends.base import NoWorkerError
from app.core.jobs.backends.celery import CeleryQueue, Claiming, Process, Times, make_celery
from app.core.jobs.backends.later import send_due
from app.core.jobs.message import Message, id_of
from app.core.jobs.port import enqueued
from app.core.jobs.task import TASKS
from app.core.jobs.worker import work
from app.core.redis import RedisAwayError, link
from tests.core.jobs.failing import FAILURES
from tests.core.jobs.test_worker import PATIENCE, Workers, until
from tests.core.migrating import as_environment
from tests.core.plugin import Addresses, with_changes
from tests.core.ports import free_port
from tests.core.redis.conftest import leading_to


class _Sent(Claiming):
    """A beat that has Celery send nothing, but at first says that it cannot."""

    failures = 1

    def __init__(self, app: Any) -> None:
        self.app, self.sent = app, 0
        app.send_task = self._send_task

    def _send_task(self, *_: Any, **__: Any) -> str:
        if self.failures:
            self.failures -= 1
            raise OperationalError
        self.sent += 1
        return "sent"


HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def due_at_the_hour(celery: Any, monkeypatch: pytest.MonkeyPatch) -> ScheduleEntry:
    @task(name="hourly", schedule=timedelta(hours=1))
    async def hourly() -> None: ...

    monkeypatch.setitem(TASKS, "hourly", TASKS.pop("hourly"))
    assert hourly.schedule is not None
    return ScheduleEntry(
        name="hourly",
        task="run",
        schedule=Times(hourly.schedule, app=celery),
        last_run_at=HOUR - timedelta(minutes=1),
        app=celery,
    )


@pytest.mark.parametrize("address", ["redis+sentinel://a/main", "redis+cluster://a"])
@pytest.mark.parametrize("name", ["redis_url", "upstash_redis_url"])
def test_what_celery_cannot_speak_to_is_refused(
    settings: Settings, name: str, address: str
) -> None:
    with pytest.raises(ValueError, match=f"{name}\n.* must lead to one server,"):
        with_changes(settings, **{name: address})


def test_what_was_due_is_sent_when_redis_is_back(
    settings: Settings, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "PAUSE_SECONDS", 0)
    prefix = f"test:{uuid4().hex[:12]}"
    celery = make_celery(leading_to(settings, redis_url, prefix))
    entry = due_at_the_hour(celery, monkeypatch)
    monkeypatch.setattr(backend, "utc_now", lambda: HOUR + timedelta(seconds=2))
    with Redis.from_url(redis_url) as redis:
        monkeypatch.setattr(Claiming, "redis", redis)
        monkeypatch.setattr(Claiming, "prefix", prefix)
        one, other = _Sent(celery), _Sent(make_celery(leading_to(settings, redis_url, prefix)))
        assert one.apply_async(entry) == "sent"
        assert other.apply_async(entry) is None
        assert (one.sent, other.sent) == (1, 0)


def test_what_was_due_long_ago_is_given_up(
    settings: Settings, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(_: float) -> None:
        raise AssertionError

    monkeypatch.setattr(backend, "sleep", wait)
    prefix = f"test:{uuid4().hex[:12]}"
    celery = make_celery(leading_to(settings, redis_url, prefix))
    entry = due_at_the_hour(celery, monkeypatch)
    monkeypatch.setattr(backend, "utc_now", lambda: HOUR + LATE + timedelta(seconds=1))
    with Redis.from_url(redis_url) as redis:
        monkeypatch.setattr(Claiming, "redis", redis)
        monkeypatch.setattr(Claiming, "prefix", prefix)
        with pytest.raises(OperationalError):
            _Sent(celery).apply_async(entry)


async def test_nothing_is_handed_over_while_redis_is_known_to_be_away(settings: Settings) -> None:
    def hand_over(*_: Any, **__: Any) -> None:
        raise AssertionError

    nowhere = leading_to(settings, f"redis://127.0.0.1:{free_port()}/0", "test")
    async with link.established(nowhere):
        while link.answers:
            with suppress(RedisAwayError):
                await link.ask(lambda redis: redis.ping())
        queue = CeleryQueue(nowhere)
        queue.celery.send_task = hand_over
        with pytest.raises(RedisAwayError):
            await queue.hand_over({"id": "a", "task": "b"})


def test_a_process_does_nothing_before_it_has_begun(settings: Settings) -> None:
    with pytest.raises(RuntimeError, match="no loop"):
        Process(settings, nullcontext).do(None)


async def test_what_was_due_counts_as_enqueued_where_it_first_runs(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(*_: object) -> None: ...

    monkeypatch.setattr(backend, "run_counted", run)
    monkeypatch.setattr(backend, "current_queue", lambda: None)
    process, heard = Process(settings, nullcontext), list[str]()
    due = Message(id=id_of("due", HOUR), task="due", arguments={})
    with enqueued.heard_by(heard.append):
        for message in (due, due.model_copy(update={"attempt": 2})):
            await process._run(message)
        await process._run(Message(id=uuid4().hex, task="asked for", arguments={}))
    assert heard == ["due"]


def variables_of(databases: Addresses, redis_url: str, directory: Path) -> dict[str, str]:
    """The environment of a worker that shares its jobs with no other one."""
    return {
        **as_environment(databases),
        "REDIS_ENABLED": "true",
        "REDIS_URL": redis_url,
        "REDIS_TIMEOUT": "3",
        "REDIS_KEY_PREFIX": f"test:{uuid4().hex[:12]}",
        "JOBS_AT_ONCE": str(len(FAILURES)),
        "TMPDIR": str(directory),
    }


def test_a_worker_that_has_lost_its_beat_ends(
    redis_url: str, own_databases: Addresses, tmp_path: Path
) -> None:
    """Whoever looks after it starts it again; without that, nothing that is due would be sent."""
    workers = Workers(variables_of(own_databases, redis_url, tmp_path), tmp_path)
    workers.start("tests.core.jobs.beatless")
    [worker] = workers.running
    try:
        assert worker.process.wait(PATIENCE) == 1
    finally:
        workers.kill(worker.process.pid)
    assert "worker stops: its beat has ended" in {line["event"] for line in worker.lines()}


async def test_a_process_that_does_not_start_is_replaced(
    redis_url: str, own_databases: Addresses, tmp_path: Path
) -> None:
    """Celery would give it jobs all the same, and never fork another one."""
    workers = Workers(variables_of(own_databases, redis_url, tmp_path), tmp_path)
    workers.start("tests.core.jobs.failing")
    [worker] = workers.running
    try:
        await workers.all_ready()
    finally:
        workers.kill(worker.process.pid)
    said = [line for line in worker.lines() if line["event"] == "worker process does not start"]
    reasons = {line["exception"].splitlines()[-1] for line in said}
    assert reasons == {"ValueError: the first cannot start", "RuntimeError: nor can the other one"}


async def test_a_worker_outlives_a_redis_that_is_gone_without_a_word(
    settings: Settings, redis_url: str, own_databases: Addresses, tmp_path: Path
) -> None:
    """As when its machine has lost its power, and another one takes its place."""
    async with silencing(redis_url) as (url, silence):
        variables = variables_of(own_databases, url, tmp_path)
        variables |= {"JOBS_REDELIVERY_SECONDS": "9", "JOBS_TIME_LIMIT_SECONDS": "4"}
        workers = Workers(variables, tmp_path)
        workers.start()
        [worker] = workers.running
        changed = leading_to(settings, redis_url, variables["REDIS_KEY_PREFIX"])

        async def give(name: str) -> None:
            """Give it a job that nobody knows, and wait until it says so."""
            await CeleryQueue(changed).send(Message(id=name, task="nobody's", arguments={}))

            async def taken() -> bool:
                return name in {line.get("job_id") for line in worker.lines()}

            await until(taken)

        try:
            async with link.established(changed):
                await give("before")
                silence()
                await give("after")
        finally:
            workers.kill(worker.process.pid)


@asynccontextmanager
async def silencing(url: str) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """Stand before a Redis: its address then, and what makes all connections so far fall silent.

    They stay open for whoever asks; Redis itself has lost them, and what waited on them.
    """
    parts, passing = make_url(url), set[asyncio.Task[object]]()
    callers, questions_now = set[StreamWriter](), set[StreamWriter]()

    def silence() -> None:
        for each in questions_now:
            each.close()
        questions_now.clear()

    async def pass_on(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if not writer.is_closing():
                    writer.write(data)
                    await writer.drain()

    async def connect(reader: StreamReader, writer: StreamWriter) -> None:
        answers, questions = await open_connection(parts.host, parts.port)
        callers.add(writer)
        questions_now.add(questions)
        answering = asyncio.create_task(pass_on(answers, writer))
        passing.update({answering, cast("asyncio.Task[object]", asyncio.current_task())})
        await pass_on(reader, questions)
        questions.close()

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    own = parts.set(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
    try:
        yield own.render_as_string(hide_password=False), silence
    finally:
        server.close()
        silence()
        for each in callers:
            each.close()
        await asyncio.gather(*passing)


def test_a_job_has_time_to_be_begun_and_to_run(settings: Settings) -> None:
    changed = leading_to(settings, "redis://localhost:6379/0", "test")
    limits = {"jobs_time_limit_seconds": 1000, "jobs_redelivery_seconds": 2000}
    with pytest.raises(SystemExit, match="must exceed twice the time limit"):
        work(with_changes(changed, **limits))


def test_tasks_are_found_before_their_limits_are_looked_at(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    @task(time_limit=timedelta(hours=10))
    async def take_ten_hours() -> None:
        raise AssertionError

    def fail(*_: object) -> None:
        raise AssertionError

    name = take_ten_hours.name
    monkeypatch.delitem(TASKS, name)
    finding = partial(monkeypatch.setitem, TASKS, name, take_ten_hours)
    monkeypatch.setattr("app.core.jobs.worker.find_tasks", finding)
    monkeypatch.setattr("app.core.jobs.worker.BACKEND", replace(backend.BACKEND, work=fail))
    with pytest.raises(SystemExit, match="the longest of which is 36000 s"):
        work(leading_to(settings, "redis://localhost:6379/0", "test"))


async def test_what_waits_for_its_time_waits_in_no_worker(
    settings: Settings, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Celery is given a job at its time, and again when whoever did that has died over it."""
    changed = leading_to(settings, redis_url, f"test:{uuid4().hex[:12]}")
    due = datetime.now(UTC) + timedelta(hours=1)
    message = Message(id="a", task="late", arguments={}, not_before=due)

    async def die(_: object) -> None:
        raise RedisAwayError("Redis does not answer")

    async def jobs_and_later() -> tuple[int, int]:
        with pytest.raises(NoWorkerError) as raised:
            await queue.look()
        found = raised.value.details
        return found["jobs"], found["later"]

    async with link.established(changed):
        queue = CeleryQueue(changed)
        await queue.send(message)
        assert await send_due(queue.hand_over) == 0
        assert await jobs_and_later() == (0, 1)
        monkeypatch.setattr(later, "time", (due + timedelta(seconds=1)).timestamp)
        with pytest.raises(RedisAwayError):
            await send_due(die)
        assert await send_due(queue.hand_over) == 0
        again = due + timedelta(seconds=2 + later.AGAIN_SECONDS)
        monkeypatch.setattr(later, "time", again.timestamp)
        assert await send_due(queue.hand_over) == 1
        assert await jobs_and_later() == (1, 0)


def test_the_address_says_that_the_way_is_encrypted(settings: Settings) -> None:
    addresses = {
        "redis://:word@eu1.upstash.io:6379/0": "rediss://:word@eu1.upstash.io:6379/0",
        "rediss://host:6379/0": "rediss://host:6379/0",
        "redis://host:6379/0": "redis://host:6379/0",
    }
    for address, read in addresses.items():
        assert make_celery(leading_to(settings, address, "test")).conf.broker_url == read
