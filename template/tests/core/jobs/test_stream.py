"""The broker between the service and taskiq, on a real Redis."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from taskiq import AckableMessage, BrokerMessage

from app.config import Settings
from app.core.jobs.backends.base import NoWorkerError
from app.core.jobs.backends.taskiq import (
    GROUP,
    MOST_WORKERS,
    Delivery,
    StreamBroker,
    TaskiqQueue,
)
from app.core.redis import link
from tests.core.redis.conftest import leading_to


@pytest.fixture
async def broker(settings: Settings, redis_url: str) -> AsyncIterator[StreamBroker]:
    """A broker of a worker, to which every other one seems dead at once."""
    prefix = f"test:{uuid4().hex[:12]}"
    async with link.established(leading_to(settings, redis_url, prefix)):
        broker = StreamBroker(silence=0)
        broker.read_by(link.client)
        await broker._join()
        yield broker


async def put(broker: StreamBroker, **labels: float) -> None:
    await broker.kick(BrokerMessage(task_id="a", task_name="run", message=b"job", labels=labels))


async def length(broker: StreamBroker) -> int:
    return int(await link.ask(lambda redis: redis.xlen(broker.stream)))


async def test_a_job_that_is_done_leaves_the_stream(broker: StreamBroker) -> None:
    await put(broker)
    message = await anext(broker.listen())
    assert isinstance(message, AckableMessage)
    assert (message.data, await length(broker)) == (b"job", 1)
    await message.ack()  # type: ignore[misc]
    assert await length(broker) == 0


async def test_all_that_one_look_has_found_is_held(broker: StreamBroker) -> None:
    """The second one may have to wait until there is a place for it."""
    for _ in range(2):
        await put(broker)
    [(identifier, _content)] = await broker._read_new()
    await broker.client.xclaim(broker.stream, GROUP, "dead", 0, [identifier], idle=120_000)
    await anext(broker.listen())
    assert len(broker._reading.held) == 2


async def test_a_job_that_ends_its_workers_is_given_up(broker: StreamBroker) -> None:
    await put(broker)
    assert len(await broker._read_new()) == 1
    taken = [len(await broker._take_over()) for _ in range(MOST_WORKERS)]
    assert taken == [1] * (MOST_WORKERS - 1) + [0]
    assert await length(broker) == 0


async def test_what_is_held_does_not_hide_the_job_of_a_dead_worker(broker: StreamBroker) -> None:
    broker.silence = 60
    for _ in range(12):
        await put(broker)
        [(identifier, _content)] = await broker._read_new()
    silent = {"idle": 120_000}
    await broker.client.xclaim(broker.stream, GROUP, "dead", 0, [identifier], **silent)
    found = [*await broker._take_over(), *await broker._take_over()]
    assert [each for each, _ in found] == [identifier]


async def test_a_job_that_was_done_meanwhile_is_not_taken_over(broker: StreamBroker) -> None:
    await put(broker)
    [(identifier, _)] = await broker._read_new()
    await Delivery(broker, set(), identifier)()
    assert await broker._gave_up(identifier)


async def test_a_worker_joins_when_redis_lets_it(broker: StreamBroker) -> None:
    """As after a failover: who was the master refuses to write, and answers."""
    await link.ask(lambda redis: redis.delete(broker.stream))
    await link.ask(lambda redis: redis.set(broker.stream, "no stream"))
    await broker._join()
    await link.ask(lambda redis: redis.delete(broker.stream))
    await put(broker)
    assert isinstance(await anext(broker.listen()), AckableMessage)


async def test_what_is_sent_before_there_is_a_worker_waits_for_it(
    settings: Settings, redis_url: str
) -> None:
    async with link.established(leading_to(settings, redis_url, f"test:{uuid4().hex[:12]}")):
        broker = StreamBroker(silence=60)
        await put(broker)
        broker.read_by(link.client)
        message = await anext(broker.listen())
        assert isinstance(message, AckableMessage)


async def test_nobody_but_a_worker_takes_jobs() -> None:
    with pytest.raises(RuntimeError, match="only a worker"):
        StreamBroker(silence=1).client  # noqa: B018


async def test_that_there_is_no_worker_is_told(settings: Settings, redis_url: str) -> None:
    changed = leading_to(settings, redis_url, f"test:{uuid4().hex[:12]}")
    async with link.established(changed):
        with pytest.raises(NoWorkerError):
            await TaskiqQueue(changed).look()
