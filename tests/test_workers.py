"""Processes that run jobs: beside `make dev`, and that die with jobs in their hands."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.answers import Resolver
from tests.support.figures import Figure
from tests.support.render import Renderer
from tests.support.runs import (
    database_server,
    environment,
    free_port,
    new_databases,
    python,
    redis_program,
    redis_server,
    running,
    with_own_programs,
)
from tests.support.template import Template

TRIES = 200
ANSWERS = {"auth": "none", "worker": "taskiq"}

DIE = """
import asyncio, os, signal, sys
from app.config import Settings
from app.core.application import started
from app.core.database.tables import make_tables
from app.core.jobs.port import send
from tests.core.first_database import database
from tests.core.jobs.tasks import TABLES, note_once, own_outbox

settings, outbox = Settings(), own_outbox()

async def prepare():
    async with started(settings):
        await make_tables(database, TABLES)

async def store(number):
    async def die(queue, message):
        try:
            if number % 2:
                await send(queue, message)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)

    outbox._send_now = die
    async with started(settings):
        async with database.session_context() as session:
            await outbox.add(session, note_once, "sure")

asyncio.run(prepare())
for number in range(int(sys.argv[1])):
    child = os.fork()
    if not child:
        asyncio.run(store(number))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
"""
COUNT = """
import asyncio, sys
from app.config import Settings
from app.core.application import started
from tests.core.jobs.tasks import own_outbox, traces
own_outbox()

async def count(wanted):
    async with started(Settings()), asyncio.timeout(600):
        while len(await traces("sure")) < wanted:
            await asyncio.sleep(0.2)
        # What was sent twice would come by now.
        await asyncio.sleep(1)
        found = await traces("sure")
        print(len(found), len(set(found)))

asyncio.run(count(int(sys.argv[1])))
"""


@pytest.fixture
def variables(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a service with a database and a Redis of its own."""
    if redis_program() is None:
        pytest.skip("no redis-server program")
    renderer = Renderer(Template())
    renderer.write(renderer.tree(Resolver(renderer.template).resolve(ANSWERS)), tmp_path)
    # Not below pytest's own directory: PostgreSQL runs as another user when we are root.
    with (
        TemporaryDirectory(prefix="groundwork-") as data,
        database_server(tmp_path, Path(data) / "data") as server,
        redis_server() as port,
    ):
        addresses = new_databases(tmp_path, server)
        python(tmp_path, "-m", "app.core.migrate", **addresses)
        yield {
            **addresses,
            "REDIS_URL": f"redis://127.0.0.1:{port}/0",
            "REDIS_TIMEOUT": "5",
            "JOBS_OUTBOX_SECONDS": "0.2",
            "LOG_FORMAT": "json",
        }


def test_the_outbox_loses_nothing_and_does_nothing_twice(
    variables: dict[str, str], tmp_path: Path, figure: Figure
) -> None:
    python(tmp_path, "-c", DIE, str(TRIES), **variables)
    worker = [sys.executable, "-m", "tests.core.jobs.worker"]
    with running(worker, tmp_path, 0, environment(**variables)):
        said = python(tmp_path, "-c", COUNT, str(TRIES), **variables)
    assert said.splitlines()[-1] == f"{TRIES} {TRIES}"
    figure(f"killed between commit and publish {TRIES} times: {TRIES} jobs done, each once")


def test_a_worker_beside_make_dev_runs_its_jobs() -> None:
    """With the address of Redis and nothing else, as the README of a service says."""
    if redis_program() is None:
        pytest.skip("no redis-server program")
    renderer = Renderer(Template())
    answers = Resolver(renderer.template).resolve({**ANSWERS, "database": "postgresql"})
    # Not below pytest's own directory: PostgreSQL runs as another user when we are root.
    with TemporaryDirectory(prefix="groundwork-") as place, redis_server() as redis:
        service = with_own_programs(renderer.write(renderer.tree(answers), Path(place, "service")))
        port = free_port()
        variables = environment(REDIS_URL=f"redis://127.0.0.1:{redis}/0", PORT=str(port))
        with running(["make", "dev", f"PORT={port}"], service, port, variables) as development:
            development.wait_until("/ready")
            jobs = development.get("/ready").json()["components"]["jobs"]
            assert jobs["status"] == "degraded"  # there is no worker yet
            with running(["make", "worker"], service, 0, variables) as worker:
                development.wait_until_all_are_up(["jobs"])
                worker.stop(signal.SIGINT, group=True)
            development.stop(signal.SIGINT, group=True)
    assert not [line for line in worker.output if "Traceback" in line]
