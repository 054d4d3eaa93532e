"""Jobs that end their workers, counted in a real Redis."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from app.config import Settings
from app.core.database.types import utc_now
from app.core.jobs import running, task
from app.core.jobs.backends.deaths import MOST_WORKERS, begin, run_counted
from app.core.jobs.message import Message
from app.core.jobs.port import Outcome, result_of
from app.core.jobs.running import WorkersDiedError, give_up
from app.core.jobs.task import DEFAULT_RETRIES, TASKS
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


async def test_that_it_is_given_up_is_reported_and_kept_as_its_result(
    runs: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[BaseException] = []
    monkeypatch.setattr(running, "unexpected", reported.append)
    monkeypatch.setitem(TASKS, "counted", replace(TASKS["counted"], keeps_result=True))
    queue, message = Collected(), Message(id="deadly", task="counted", arguments={})
    await give_up(message, queue)
    assert [type(error) for error in reported] == [WorkersDiedError]
    kept = await queue.store.get(result_of(None, "deadly"))
    assert kept == Outcome(failed=True).model_dump_json()
    assert queue.waiting == []


async def test_what_must_not_be_lost_comes_again_later(runs: list[None]) -> None:
    queue = Collected()
    await give_up(Message(id="deadly", task="counted", arguments={}, kept=True), queue)
    [again] = queue.waiting
    assert again.kept
    assert again.not_before is not None
    assert again.not_before > utc_now() + timedelta(seconds=DEFAULT_RETRIES.longest / 3)
    assert again.attempt > DEFAULT_RETRIES.times


async def test_a_job_that_ends_counts_no_more(runs: list[None]) -> None:
    message = Message(id="harmless", task="counted", arguments={})
    for _ in range(MOST_WORKERS + 1):
        await run_counted(message, Collected(), SOON)
    assert len(runs) == MOST_WORKERS + 1
