"""Jobs that end their workers, counted in a real Redis."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest

from app.config import Settings
from app.core.jobs import task
from app.core.jobs.backends.deaths import MOST_WORKERS, begin, run_counted
from app.core.jobs.message import Message
from app.core.jobs.task import TASKS
from app.core.redis import link
from tests.core.jobs.collected import Collected
from tests.core.redis.conftest import leading_to

SOON = timedelta(seconds=20)


@pytest.fixture
async def runs(
    settings: Settings, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[None]]:
    """The runs of the task "counted", beside a Redis."""
    begun: list[None] = []

    @task(name="counted")
    async def counted() -> None:
        begun.append(None)

    monkeypatch.setitem(TASKS, "counted", TASKS.pop("counted"))
    async with link.established(leading_to(settings, redis_url, f"test:{uuid4().hex[:12]}")):
        yield begun


async def test_a_job_that_ends_its_workers_is_given_up(runs: list[None]) -> None:
    message = Message(id="deadly", task="counted", arguments={})
    for _ in range(MOST_WORKERS):
        await begin(message)  # and whoever does it dies
    await run_counted(message, Collected(), SOON)
    assert runs == []
    await run_counted(message.model_copy(update={"attempt": 2}), Collected(), SOON)
    assert runs == [None]


async def test_a_job_that_ends_counts_no_more(runs: list[None]) -> None:
    message = Message(id="harmless", task="counted", arguments={})
    for _ in range(MOST_WORKERS + 1):
        await run_counted(message, Collected(), SOON)
    assert len(runs) == MOST_WORKERS + 1
