"""Jobs on a real Redis, run by real worker processes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from structlog.testing import CapturingLogger

from app.config import Settings
from app.core.application import create_app
from app.core.jobs import enqueue, worker
from app.core.jobs.backend import BACKEND
from app.core.jobs.backends import life
from app.core.jobs.backends.redis import RedisStore
from app.core.jobs.outbox import OUTBOXES, Outbox
from app.core.jobs.port import compose, current_queue
from app.core.jobs.worker import work
from tests.core.first_database import database
from tests.core.jobs.conftest import make_own_tables, router
from tests.core.jobs.tasks import begun, hang_at_first, note, note_once, take_a_while, traces
from tests.core.migrating import as_environment
from tests.core.plugin import Addresses, caller_of, with_changes
from tests.core.redis.conftest import leading_to

PATIENCE = 60
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that another process does."""
    async with asyncio.timeout(PATIENCE):
        while not await done():  # noqa: ASYNC110 - nobody here is told
            await asyncio.sleep(0.05)


@dataclass
class Worker:
    """A worker process."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged, without a line that it is just writing."""
        lines = self.log.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]


@dataclass
class Workers:
    """The worker processes of these tests."""

    variables: dict[str, str]
    directory: Path
    running: list[Worker] = field(default_factory=list)

    def start(self, module: str = "tests.core.jobs.worker") -> None:
        log = self.directory / f"{uuid4().hex}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", module],
                env={**os.environ, **self.variables},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append(Worker(process, log))

    def kill(self, group: int) -> None:
        """End one of them at once, with all processes that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        [killed] = [each for each in self.running if each.process.pid == group]
        killed.process.wait(PATIENCE)
        self.running.remove(killed)

    async def all_ready(self) -> None:
        """Wait until each has told that it is ready."""

        async def ready() -> bool:
            logs = [each.log.read_text() for each in self.running]
            assert all(each.process.poll() is None for each in self.running), "\n".join(logs)
            return all("worker ready" in log for log in logs)

        await until(ready)


@pytest.fixture(scope="module")
async def sender(
    committing: Settings, redis_url: str, outbox: Outbox, anyio_backend: str
) -> AsyncIterator[FastAPI]:
    """An application whose jobs are run by workers."""
    on_redis = leading_to(committing, redis_url, f"test:{uuid4().hex[:12]}")
    app = create_app(on_redis, routers=[router])
    async with app.router.lifespan_context(app):
        await make_own_tables()
        yield app


@pytest.fixture(scope="module")
async def workers(
    sender: FastAPI,
    redis_url: str,
    own_databases: Addresses,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Workers]:
    """Two workers, which run from the first test to the last one."""
    directory = tmp_path_factory.mktemp("workers")
    variables = {
        **as_environment(own_databases),
        "REDIS_ENABLED": "true",
        "REDIS_URL": redis_url,
        "REDIS_TIMEOUT": "3",
        "REDIS_KEY_PREFIX": sender.state.settings.redis_key_prefix,
        "JOBS_AT_ONCE": "2",
        "JOBS_REDELIVERY_SECONDS": "9",
        "JOBS_TIME_LIMIT_SECONDS": "4",
        "TMPDIR": str(directory),
    }
    started = Workers(variables, directory)
    try:
        started.start()
        started.start()
        await started.all_ready()
        yield started
    finally:
        for each in list(started.running):
            started.kill(each.process.pid)


@pytest.fixture
async def caller(sender: FastAPI, workers: Workers) -> AsyncIterator[AsyncClient]:
    async with caller_of(sender) as caller:
        yield caller


def test_a_worker_wants_redis(settings: Settings) -> None:
    with pytest.raises(SystemExit, match="the worker needs REDIS_URL"):
        work(with_changes(settings, redis_enabled=False))


def test_what_runs_its_jobs_itself_has_no_worker(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "BACKEND", replace(BACKEND, work=None))
    with pytest.raises(SystemExit, match="runs its jobs itself"):
        work(leading_to(settings, "redis://localhost:6379/0", "test"))


@pytest.mark.parametrize(
    ("changes", "apart", "warns"),
    [
        ({}, False, True),
        ({"db_max_overflow": 7}, False, False),
        ({"db_use_null_pool": True}, False, False),
        ({}, True, False),
    ],
)
def test_a_worker_says_when_its_jobs_may_get_no_connection(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    *,
    apart: bool,
    warns: bool,
) -> None:
    log, ran = CapturingLogger(), list[object]()
    monkeypatch.setattr(worker, "log", log)
    monkeypatch.setattr(worker, "PIECES", ())
    backend = replace(BACKEND, work=lambda *given: ran.append(given), apart=apart, holds_on=True)
    monkeypatch.setattr(worker, "BACKEND", backend)
    own = {"jobs_at_once": 10, "db_pool_size": 3, "db_max_overflow": 6, **changes}
    work(leading_to(settings, "redis://localhost:6379/0", "test", **own))
    assert ran
    assert [call.kwargs for call in log.calls] == warns * [{"jobs": 10, "connections": 9}]


def test_jobs_of_one_process_share_its_connections() -> None:
    assert BACKEND.apart == (BACKEND.name == "celery")


async def test_a_worker_does_what_a_request_has_enqueued(
    caller: AsyncClient, workers: Workers
) -> None:
    headers = {"X-Request-ID": "of-the-request", "traceparent": TRACE}
    job_id = (await caller.post("/api/v1/notes/hello", headers=headers)).json()
    await until(lambda: _left("hello"))
    assert await traces("hello") == [job_id]
    await until(lambda: _said("job done", job_id, workers))
    [line] = _lines("job done", job_id, workers)
    assert (line["job"], line["request_id"]) == (note.name, "of-the-request")
    assert line["traceparent"] == TRACE
    assert "subject" not in line
    # What the library says of each job is said already.
    loggers = {str(line.get("logger")) for each in workers.running for line in each.lines()}
    assert not [name for name in loggers if name.startswith(("arq", "taskiq"))]


async def _left(text: str, times: int = 1) -> bool:
    return len(await traces(text)) >= times


async def _begun(text: str) -> bool:
    return bool(begun(text))


async def test_a_result_comes_back(caller: AsyncClient) -> None:
    job = await enqueue(note, "result")
    assert (await job.result(timedelta(seconds=PATIENCE)))["principal"] is None


async def test_a_request_whose_commit_fails_enqueues_nothing(caller: AsyncClient) -> None:
    assert (await caller.post("/api/v1/notes/failing")).status_code == 500
    await (await enqueue(note, "after")).result(timedelta(seconds=PATIENCE))
    assert await traces("failing") == []


async def test_what_the_outbox_has_is_done(caller: AsyncClient) -> None:
    job_id = (await caller.post("/api/v1/sure-notes/sure")).json()
    await until(lambda: _left("sure"))
    assert await traces("sure") == [job_id]


async def test_what_the_outbox_sends_twice_is_done_once(sender: FastAPI, workers: Workers) -> None:
    async with database.session_context() as session:
        job = await OUTBOXES[database].add(session, note_once, "twice")
    await until(lambda: _left("twice"))
    again = compose(note_once, note_once.dump("twice")).model_copy(update={"id": job.id})

    async def seen_again() -> bool:
        # A queue that still knows the job does not even take it.
        await current_queue().send(again)
        return await _said("job was done before", job.id, workers)

    await until(seen_again)
    assert await traces("twice") == [job.id]


async def _said(event: str, job_id: str, workers: Workers) -> bool:
    return bool(_lines(event, job_id, workers))


def _lines(event: str, job_id: str, workers: Workers) -> list[dict[str, Any]]:
    lines = [line for each in workers.running for line in each.lines()]
    return [line for line in lines if line["event"] == event and line.get("job_id") == job_id]


async def test_a_delayed_job_is_done_at_its_time(caller: AsyncClient) -> None:
    before = asyncio.get_running_loop().time()
    job = await enqueue(note.options(delay=timedelta(seconds=0.3)), "later")
    await job.result(timedelta(seconds=PATIENCE))
    assert asyncio.get_running_loop().time() - before > 0.25


async def test_health_counts_workers_and_jobs(caller: AsyncClient, sender: FastAPI) -> None:
    await until(lambda: _counts(2))
    sender.state.health._asked_at = float("-inf")
    answer = (await caller.get("/health/detailed")).json()["components"]["jobs"]
    assert answer["status"] == "up"
    assert answer["details"]["workers"] >= 2


async def _counts(workers: int) -> bool:
    return int((await current_queue().look())["workers"]) >= workers


async def test_a_worker_lives_whose_file_cannot_be_written(
    sender: FastAPI, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    beats = list[str]()

    class Listening(RedisStore):
        async def beat(self, name: str) -> None:
            beats.append(name)

    monkeypatch.setattr(life, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(life, "heartbeat_file", lambda: tmp_path / "nowhere" / "file")

    async def several() -> bool:
        return len(beats) > 2

    async with life.alive(Listening()):
        await until(several)


async def test_schedules_come_once(caller: AsyncClient) -> None:
    await until(lambda: _left("tick", 3))
    ids = await traces("tick")
    assert len(set(ids)) == len(ids)


async def test_the_job_of_a_killed_worker_is_done_once(
    caller: AsyncClient, workers: Workers
) -> None:
    job = await enqueue(hang_at_first, "killed")
    await until(lambda: _begun("killed"))
    workers.kill(os.getpgid(begun("killed")[0]))
    await until(lambda: _left("killed"))
    assert len(begun("killed")) == 2
    assert await traces("killed") == [job.id]


async def test_a_worker_that_stops_finishes_its_job(caller: AsyncClient, workers: Workers) -> None:
    await enqueue(take_a_while, "stopped")
    await until(lambda: _begun("stopped"))
    group = os.getpgid(begun("stopped")[0])
    [left] = [each for each in workers.running if each.process.pid == group]
    left.process.send_signal(signal.SIGTERM)
    assert left.process.wait(PATIENCE) == 0
    assert len(await traces("stopped")) == len(begun("stopped")) == 1


def test_production_wants_the_redis_that_carries_the_jobs(settings: Settings) -> None:
    away = with_changes(settings, redis_enabled=True, redis_url=None, upstash_redis_url=None)
    missed = "REDIS_URL must lead to the Redis that carries the jobs"
    assert missed in away.insecure()
    assert missed not in with_changes(away, redis_enabled=False).insecure()
    assert missed not in with_changes(away, redis_url="rediss://host").insecure()
