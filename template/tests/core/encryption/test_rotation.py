"""The master key is replaced while the service runs."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session
from structlog.testing import CapturingLogger

from app.config import Settings
from app.core.database.handle import ServiceSession
from app.core.encryption import EncryptedStr, encryption, rotation
from app.core.encryption.rotation import Outcome, count_by_version, rotate
from tests.core.encryption.accounts import (
    METADATA,
    Account,
    add,
    find,
    forget_all,
    overwrite,
    running,
    stored,
)
from tests.core.encryption.keyrings import keyring
from tests.core.first_database import database
from tests.core.plugin import Addresses, with_changes

ROWS = 7


@pytest.fixture(scope="module")
async def service(module_databases: Addresses, settings: Settings) -> AsyncIterator[None]:
    async with running(module_databases, settings):
        yield


@pytest.fixture(autouse=True)
async def rows(service: None) -> AsyncIterator[None]:
    """Some rows under the old key; the new one is current now."""
    await forget_all()
    with encryption.using(keyring(1)):
        for number in range(ROWS):
            await add(f"a{number}", f"key {number}", "secret" if number % 2 else None)
    with encryption.using(keyring(2, 1)):
        yield


async def run(batch: int = 3) -> Outcome:
    return await rotate(database, metadata=METADATA, batch=batch)


async def counted() -> dict[str, int]:
    return dict(await count_by_version(database, metadata=METADATA))


async def readable() -> list[str]:
    """What is read by the new key alone."""
    with encryption.using(keyring(2)):
        return [(await find(f"a{number}")).api_key.reveal() for number in range(ROWS)]


EXPECTED = [f"key {number}" for number in range(ROWS)]


async def test_everything_is_under_the_new_key_and_nothing_else_changes() -> None:
    before = [(each.updated_at, each.version, each.created_at) for each in await accounts()]
    assert await counted() == {"v2": 0, "v1": ROWS + ROWS // 2, "other": 0}
    outcome = await run()
    assert (outcome.encrypted, outcome.complete) == (ROWS, True)
    assert await readable() == EXPECTED
    assert await counted() == {"v2": ROWS + ROWS // 2, "v1": 0, "other": 0}
    after = [(each.updated_at, each.version, each.created_at) for each in await accounts()]
    assert after == before


async def test_a_replica_that_is_late_hides_no_value(
    module_databases: Addresses, empty_databases: Addresses, settings: Settings
) -> None:
    late = {database.replica_variable: empty_databases[database.variable]}
    async with database.connected(with_changes(settings, **module_databases, **late)):
        assert (await counted())["v1"] == ROWS + ROWS // 2


async def accounts() -> list[Account]:
    async with database.read_session_context() as session:
        return list(await session.scalars(select(Account).order_by(Account.name)))


async def test_what_is_done_is_not_done_again() -> None:
    await run()
    before = await stored()
    assert (await run()).encrypted == 0
    assert await stored() == before


async def test_an_interrupted_rotation_goes_on_where_it_was() -> None:
    with interrupted_after(2), pytest.raises(Interrupted):
        await run()
    done = [key.startswith("v2.") for _, key, _ in await stored()]
    assert 0 < sum(done) < ROWS
    with encryption.using(keyring(2, 1)):  # the service reads both meanwhile
        assert [each.api_key.reveal() for each in await accounts()] == EXPECTED
    assert (await run()).encrypted == ROWS - sum(done)
    assert await readable() == EXPECTED


class Interrupted(Exception):  # noqa: N818 - it is no error of ours
    """The process has ended."""


@contextmanager
def interrupted_after(commits: int) -> Iterator[None]:
    """Let some transactions be committed and no more."""
    left = [commits * 2]  # a batch is read in one and written in another

    def count(_: Session) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Interrupted

    event.listen(ServiceSession, "before_commit", count)
    try:
        yield
    finally:
        event.remove(ServiceSession, "before_commit", count)


async def test_what_the_service_writes_meanwhile_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between reading and writing a batch, somebody changes one of its rows."""
    changed: list[str] = []

    async def change(name: str) -> None:
        async with database.session_context() as session:
            account = (await session.scalars(select(Account).where(Account.name == name))).one()
            account.api_key = EncryptedStr("written meanwhile")

    batches = rotation._batches

    async def change_after_reading(*arguments: object) -> AsyncIterator[object]:
        async for rows in batches(*arguments):  # type: ignore[arg-type]
            if not changed:
                changed.append("a0")
                await change("a0")
            yield rows

    monkeypatch.setattr(rotation, "_batches", change_after_reading)
    outcome = await run()
    assert (outcome.encrypted, outcome.changed, outcome.complete) == (ROWS - 1, 1, False)
    assert await readable() == ["written meanwhile", *EXPECTED[1:]]
    assert (await run()).complete


async def test_an_unreadable_value_is_named_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await overwrite("a3", api_key=(await stored())[2][1])
    log = CapturingLogger()
    monkeypatch.setattr(rotation, "log", log)
    outcome = await run()
    assert (outcome.encrypted, outcome.unreadable, outcome.complete) == (ROWS - 1, 1, False)
    (line,) = log.calls
    assert line.args == ("a value cannot be decrypted",)
    assert line.kwargs.keys() == {"table", "row", "reason"}
    assert line.kwargs["row"] == [str((await find("a3")).id)]
    assert (await counted())["v1"] == 2  # both of its columns


async def test_values_of_an_unknown_key_are_counted() -> None:
    with encryption.using(keyring(9)):
        await add("z")
    assert (await counted())["other"] == 1
    assert (await run()).unreadable == 1
