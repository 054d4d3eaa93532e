"""A worker tells its own figures, those of all of its processes together."""

import asyncio
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from app.config import Settings
from app.core.application import create_app
from app.core.jobs import enqueue
from app.core.jobs.outbox import Outbox
from tests.core.jobs.conftest import make_own_tables
from tests.core.jobs.tasks import note
from tests.core.metrics.scraping import Figures, scrape
from tests.core.migrating import as_environment
from tests.core.plugin import Addresses, caller_of
from tests.core.ports import free_port
from tests.core.redis.conftest import leading_to
from tests.core.redis.servers import Server
from tests.core.redis.servers import own_server as redis_server

PATIENCE = 60
JOBS = 4
TICK = "__main__.tick"
"""Comes by its schedule."""


@pytest.fixture
def variables(own_databases: Addresses, tmp_path: Path) -> dict[str, str]:
    return {
        **as_environment(own_databases),
        "REDIS_ENABLED": "true",
        "REDIS_TIMEOUT": "3",
        "REDIS_KEY_PREFIX": "measured",
        "JOBS_AT_ONCE": "2",
        "METRICS_PORT": str(free_port()),
        "TMPDIR": str(tmp_path),
    }


async def test_the_jobs_of_a_worker_are_counted(
    committing: Settings, outbox: Outbox, variables: dict[str, str], tmp_path: Path
) -> None:
    with redis_server(tmp_path) as redis:
        app = create_app(leading_to(committing, redis.url, "measured"))
        async with app.router.lifespan_context(app), caller_of(app, headers={}) as caller:
            await make_own_tables()
            jobs = [await enqueue(note, f"measured {number}") for number in range(JOBS)]
            assert (await scrape(caller)).one("jobs_waiting") == JOBS
            worker = started(redis, variables)
            try:
                for job in jobs:
                    await job.result(timedelta(seconds=PATIENCE))
                figures = await of_worker(variables["METRICS_PORT"])
                seen_by_service = await when_nothing_waits(app, caller)
            finally:
                worker.terminate()
                assert worker.wait(PATIENCE) == 0
    labels = {"task": note.name, "outcome": "succeeded"}
    assert figures.one("jobs_finished_total", **labels) == JOBS
    assert figures.one("job_duration_seconds_count", task=note.name) == JOBS
    assert figures.one("jobs_enqueued_total", task=TICK) >= 1
    assert figures.sum("jobs_enqueued_total", task=note.name) == 0
    assert figures.sum("database_pool_limit") >= 1
    assert figures.one("process_resident_memory_bytes") > 0
    assert figures.one("app_info") == 1
    assert seen_by_service.one("jobs_enqueued_total", task=note.name) == JOBS
    assert seen_by_service.one("job_workers") >= 1
    assert left_behind(tmp_path) == []


async def when_nothing_waits(app: FastAPI, caller: AsyncClient) -> Figures:
    """A job of a schedule may be on its way while the others are done."""
    async with asyncio.timeout(PATIENCE):
        while True:
            app.state.health._asked_at = float("-inf")
            figures = await scrape(caller)
            if figures.one("jobs_waiting") == 0:
                return figures
            await asyncio.sleep(0.05)


def left_behind(directory: Path) -> list[Path]:
    return list(directory.glob("metrics-*"))


def started(redis: Server, variables: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.core.jobs.worker"],
        env={**os.environ, **variables, "REDIS_URL": redis.url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def of_worker(port: str) -> Figures:
    """Ask until all jobs are counted, and one of a schedule."""
    async with asyncio.timeout(PATIENCE), httpx2.AsyncClient() as caller:
        while True:
            answer = await caller.get(f"http://127.0.0.1:{port}/metrics")
            figures = Figures(answer.text)
            done = figures.sum("jobs_finished_total", task=note.name)
            if done >= JOBS and figures.sum("jobs_finished_total", task=TICK):
                return figures
            await asyncio.sleep(0.05)
