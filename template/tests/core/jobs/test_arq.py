"""What the service does besides arq."""

import asyncio
import json
from asyncio import Event
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from arq import Retry
from arq.constants import job_key_prefix
from arq.worker import func

from app.config import Settings
from app.core.jobs.backends import arq as backend
from app.core.jobs.backends.arq import RUN, ArqQueue, PatientWorker
from app.core.jobs.backends.base import NoWorkerError
from app.core.jobs.backends.redis import key
from app.core.jobs.message import Message
from app.core.redis import link
from tests.core.plugin import with_changes
from tests.core.redis.conftest import leading_to
from tests.core.redis.servers import own_server

PATIENCE = 20


def test_a_cluster_is_refused(settings: Settings) -> None:
    """arq asks for several keys at once, which may be on several nodes of it."""
    with pytest.raises(ValueError, match=r"redis_url\n.* must lead to one server or a Sentinel,"):
        with_changes(settings, redis_url="redis+cluster://a")


async def test_a_job_that_comes_too_early_comes_again(settings: Settings) -> None:
    """It is not sent again: arq takes none of an id that it has, so it would be lost."""
    due = datetime.now(UTC) + timedelta(hours=1)
    message = Message(id="a", task="early", arguments={}, not_before=due)
    async with link.established(settings):
        with pytest.raises(Retry) as raised:
            await ArqQueue(settings).perform({}, message.model_dump(mode="json"))
    assert raised.value.defer_score is not None
    assert 3_500_000 < raised.value.defer_score <= 3_600_000


async def test_an_outage_ends_no_worker_and_no_job(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "PAUSE_SECONDS", 0.05)
    begun, end, away = {"before": Event(), "after": Event()}, Event(), Event()
    done: list[str] = []
    taken: list[bytes] = []

    async def perform(_: Any, name: str) -> None:
        begun[name].set()
        await end.wait()
        done.append(name)

    async def find(*_: Any, **__: Any) -> list[bytes]:
        """Find a job, and then Redis is away."""
        taken.append(b"lost")
        if len(taken) > 2:
            away.set()
        return taken[-1:]

    with own_server(tmp_path) as server:
        async with (
            asyncio.timeout(PATIENCE),
            link.established(leading_to(settings, server.url, "outage")),
            working(perform) as worker,
        ):
            await worker.pool.enqueue_job(RUN, "before")
            await begun["before"].wait()
            with monkeypatch.context() as patched:
                patched.setattr(worker.pool, "zrangebyscore", find)
                server.kill()
                await away.wait()
            server.start()
            await worker.pool.enqueue_job(RUN, "after")
            await begun["after"].wait()
            end.set()
            await asyncio.gather(*worker.tasks.values())
    assert done == ["before", "after"]


@asynccontextmanager
async def working(perform: Any) -> AsyncIterator[PatientWorker]:
    """A worker of this process, which does two jobs at once."""
    worker = PatientWorker(
        [func(perform, name=RUN, keep_result=0)],
        redis_pool=backend._speaking_arq(link.client),
        queue_name=key("arq"),
        max_jobs=2,
        poll_delay=0.02,
        handle_signals=False,
        job_serializer=backend._dump,
        job_deserializer=json.loads,
    )
    running = asyncio.create_task(worker.async_run())
    try:
        yield worker
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_a_full_redis_takes_no_job_away(settings: Settings, redis_url: str) -> None:
    """It takes what would end by itself (`volatile-lru`)."""
    changed = leading_to(settings, redis_url, f"test:{uuid4().hex[:12]}")
    async with link.established(changed):
        for due in (None, datetime.now(UTC) + timedelta(hours=1)):
            message = Message(id=uuid4().hex, task="late", arguments={}, not_before=due)
            await ArqQueue(changed).send(message)
            name = f"{job_key_prefix}{key(message.id, str(message.attempt))}"
            assert await link.client.ttl(name) == -1


async def test_that_there_is_no_worker_is_told(settings: Settings, redis_url: str) -> None:
    changed = leading_to(settings, redis_url, f"test:{uuid4().hex[:12]}")
    async with link.established(changed):
        with pytest.raises(NoWorkerError):
            await ArqQueue(changed).look()
