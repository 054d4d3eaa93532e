"""The broker between the service and taskiq, on a real Redis."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from redis.exceptions import RedisClusterException
from taskiq import AckableMessage
from taskiq.acks import AcknowledgeType

from app.config import Settings
from app.core.jobs.backends import taskiq_worker
from app.core.jobs.backends.base import NoWorkerError
from app.core.jobs.backends.taskiq import GROUP, RUN, TaskiqQueue
from app.core.jobs.backends.taskiq_worker import (
    MOST_WORKERS,
    Delivery,
    StreamBroker,
    _Receiver,
)
from app.core.jobs.message import Message
from app.core.jobs.running import finished
from app.core.redis import RedisAwayError, link
from tests.core.redis.conftest import leading_to
from tests.core.redis.servers import own_cluster

JOB = Message(id="a", task="greet", arguments={"name": "Ada"})


@pytest.fixture
async def queue(settings: Settings, redis_url: str) -> AsyncIterator[TaskiqQueue]:
    """A queue that nobody else has."""
    changed = leading_to(settings, redis_url, f"test:{uuid4().hex[:12]}")
    async with link.established(changed):
        yield TaskiqQueue(changed)


@pytest.fixture
async def broker(queue: TaskiqQueue) -> StreamBroker:
    """A broker of a worker, to which every other one seems dead at once."""
    broker = StreamBroker(queue, link.client, silence=0)
    await broker._join()
    return broker


async def length(broker: StreamBroker) -> int:
    return int(await link.ask(lambda redis: redis.xlen(broker.stream)))


def test_only_workers_load_taskiq() -> None:
    printed = subprocess.check_output(
        [sys.executable, "-c", "import sys, app.core.registry; print('taskiq' in sys.modules)"],
        text=True,
    )
    assert printed == "False\n"


async def test_a_job_that_is_done_leaves_the_stream(
    queue: TaskiqQueue, broker: StreamBroker
) -> None:
    await queue.send(JOB)
    message = await anext(broker.listen())
    assert isinstance(message, AckableMessage)
    read = broker.formatter.loads(message.data)
    assert (read.task_id, read.task_name) == (JOB.id, RUN)
    assert (list(map(Message.model_validate, read.args)), await length(broker)) == ([JOB], 1)
    await message.ack()  # type: ignore[misc]
    assert await length(broker) == 0


async def test_all_that_one_look_has_found_is_held(
    queue: TaskiqQueue, broker: StreamBroker
) -> None:
    """The second one may have to wait until there is a place for it."""
    for _ in range(2):
        await queue.send(JOB)
    [(identifier, _content)] = await broker._read_new()
    await broker.client.xclaim(broker.stream, GROUP, "dead", 0, [identifier], idle=120_000)
    await anext(broker.listen())
    assert len(broker.held) == 2


async def test_a_job_that_ends_its_workers_is_given_up(
    queue: TaskiqQueue, broker: StreamBroker
) -> None:
    await queue.send(JOB)
    assert len(await broker._read_new()) == 1
    told: list[tuple[str, str]] = []

    def listen(task: str, outcome: str, _: float) -> None:
        told.append((task, outcome))

    with finished.heard_by(listen):
        taken = [len(await broker._take_over()) for _ in range(MOST_WORKERS)]
    assert taken == [1] * (MOST_WORKERS - 1) + [0]
    assert await length(broker) == 0
    assert told == [(JOB.task, "given_up")]


async def test_a_job_whose_end_cannot_be_stored_comes_again_and_again(
    queue: TaskiqQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its workers live: Redis is full, say, and takes nothing new."""
    broker = StreamBroker(queue, link.client, silence=0)
    receiver = _Receiver(broker, ack_type=AcknowledgeType.MANUAL)
    await queue.send(JOB.model_copy(update={"task": "unknown", "kept": True}))
    told = list[str]()

    async def refuse(_: Message) -> None:
        told.append("full")
        raise RedisAwayError("full")

    monkeypatch.setattr(queue, "send", refuse)
    monkeypatch.setattr(taskiq_worker, "BLOCK_SECONDS", 0.01)
    async with asyncio.timeout(20):
        while len(told) < 2 * MOST_WORKERS:
            await receiver.callback(await anext(broker.listen()))
    assert await length(broker) == 1


async def test_what_is_held_does_not_hide_the_job_of_a_dead_worker(
    queue: TaskiqQueue, broker: StreamBroker
) -> None:
    broker.silence = 60
    for _ in range(12):
        await queue.send(JOB)
        [(identifier, _content)] = await broker._read_new()
    silent = {"idle": 120_000}
    await broker.client.xclaim(broker.stream, GROUP, "dead", 0, [identifier], **silent)
    found = [*await broker._take_over(), *await broker._take_over()]
    assert [each for each, _ in found] == [identifier]


async def test_a_job_that_was_done_meanwhile_is_not_taken_over(
    queue: TaskiqQueue, broker: StreamBroker
) -> None:
    await queue.send(JOB)
    [(identifier, content)] = await broker._read_new()
    await Delivery(broker, identifier)()
    assert await broker._gave_up(identifier, content)


async def test_a_worker_joins_when_redis_lets_it(queue: TaskiqQueue, broker: StreamBroker) -> None:
    """As after a failover: who was the master refuses to write, and answers."""
    await link.ask(lambda redis: redis.delete(broker.stream))
    await link.ask(lambda redis: redis.set(broker.stream, "no stream"))
    await broker._join()
    await link.ask(lambda redis: redis.delete(broker.stream))
    await queue.send(JOB)
    assert isinstance(await anext(broker.listen()), AckableMessage)


async def test_a_cluster_that_is_away_ends_no_worker(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What redis-py raises then is none of its other errors."""
    monkeypatch.setattr(taskiq_worker, "BLOCK_SECONDS", 0.05)
    refused = set[str]()

    async def execute(*words: Any, **options: Any) -> Any:
        try:
            return await asked(*words, **options)
        except RedisClusterException:
            refused.add(words[0])
            raise

    with own_cluster(tmp_path) as server:
        changed = leading_to(settings, f"redis+cluster://127.0.0.1:{server.port}", "cluster")
        async with asyncio.timeout(60), link.established(changed):
            queue = TaskiqQueue(changed)
            broker = StreamBroker(queue, link.client, silence=0.2)
            await queue.send(JOB)
            held = broker.listen()
            await anext(held)
            server.kill()
            asked = link.client.execute_command
            monkeypatch.setattr(link.client, "execute_command", execute)
            going_on = [asyncio.create_task(each()) for each in (broker.move_due, broker.hold_on)]
            listening = asyncio.create_task(anext(held))
            while not {"EVAL", "XCLAIM", "XREADGROUP", "XGROUP CREATE"} <= refused:
                assert [task for task in (*going_on, listening) if task.done()] == []
                await asyncio.sleep(0.01)
            await next(iter(broker.held)).let_go()

            server.start()
            while not listening.done():
                with suppress(RedisAwayError):
                    await queue.send(JOB)
                await asyncio.sleep(0.05)
            assert isinstance(await listening, AckableMessage)
            for task in going_on:
                assert not task.done()
                task.cancel()


async def test_what_is_sent_before_there_is_a_worker_waits_for_it(queue: TaskiqQueue) -> None:
    await queue.send(JOB)
    message = await anext(StreamBroker(queue, link.client, silence=60).listen())
    assert isinstance(message, AckableMessage)


async def test_that_there_is_no_worker_is_told(queue: TaskiqQueue) -> None:
    with pytest.raises(NoWorkerError):
        await queue.look()
