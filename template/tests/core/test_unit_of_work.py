import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext, suppress
from functools import partial
from types import SimpleNamespace

import pytest
from anyio import CancelScope
from fastapi import FastAPI
from sqlalchemy import Column, Integer, MetaData, Table, func, select, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.exc import StaleDataError

from app.config import Settings
from app.core.application import create_app
from app.core.database import after_commit, after_rollback, handle, init_db
from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.layout import DATABASES
from app.core.database.tables import make_tables
from tests.core.first_database import database
from tests.core.plugin import Addresses, NewDatabases, with_changes

TABLES = MetaData()
Table("counters", TABLES, Column("value", Integer))


@pytest.fixture
async def service(empty_databases: Addresses, settings: Settings) -> AsyncIterator[FastAPI]:
    """An application that really commits, on a database of its own."""
    app = create_app(with_changes(settings, **empty_databases))
    async with app.router.lifespan_context(app):
        await make_tables(database, TABLES)
        async with database.session_context() as session:
            await session.execute(text("INSERT INTO counters VALUES (0)"))
        yield app


async def value() -> int:
    async with database.read_session_context() as session:
        return int(await session.scalar(text("SELECT value FROM counters")) or 0)


async def increment(session: AsyncSession) -> None:
    await session.execute(text("UPDATE counters SET value = value + 1"))


async def test_a_hook_runs_once_the_changes_can_be_seen(service: FastAPI) -> None:
    seen: list[int] = []

    async def look() -> None:
        seen.append(await value())

    async with database.session_context() as session:
        await increment(session)
        after_commit(session, look)
        assert seen == []
    assert seen == [1]


async def test_a_hook_does_not_run_when_nothing_is_stored(service: FastAPI) -> None:
    ran: list[str] = []

    async def note(when: str) -> None:
        ran.append(f"{when}: {await value()}")

    async def change_my_mind() -> None:
        async with database.session_context() as session:
            await increment(session)
            after_commit(session, partial(note, "committed"))
            after_rollback(session, partial(note, "rolled back"))
            raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        await change_my_mind()
    assert ran == ["rolled back: 0"]


async def test_what_undoes_does_not_run_when_all_is_stored(service: FastAPI) -> None:
    ran: list[str] = []

    async def undo() -> None:
        ran.append("undone")

    async with database.session_context() as session:
        await increment(session)
        after_rollback(session, undo)
    assert ran == []
    assert await value() == 1


async def test_a_hook_is_waited_for_quietly_when_its_caller_is_gone(
    service: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, ended, wait = list[None](), list[None](), asyncio.wait

    async def wait_once_more(tasks: list[asyncio.Task[None]]) -> None:
        waits.append(None)
        await wait(tasks)

    seen = vars(asyncio) | {"wait": wait_once_more}
    monkeypatch.setattr(handle, "asyncio", SimpleNamespace(**seen))  # not for all of the process
    with CancelScope() as caller:

        async def hook() -> None:
            caller.cancel()
            await asyncio.sleep(0.05)
            ended.append(None)

        async with database.session_context() as session:
            await increment(session)
            after_commit(session, hook)
    assert (len(ended), len(waits)) == (1, 1)


async def test_a_hook_that_fails_undoes_nothing(service: FastAPI) -> None:
    ran: list[str] = []

    async def fail() -> None:
        ran.append("first")
        raise RuntimeError

    async def go_on() -> None:
        ran.append("second")

    async with database.session_context() as session:
        await increment(session)
        after_commit(session, fail)
        after_commit(session, go_on)
    assert ran == ["first", "second"]
    assert await value() == 1


def lost() -> DBAPIError:
    return OperationalError("UPDATE", {}, Exception("made up"))


async def test_work_that_lost_is_done_again(
    service: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handle, "is_conflict", lambda error: isinstance(error, DBAPIError))
    tries: list[int] = []

    async def work(session: AsyncSession) -> str:
        tries.append(1)
        await increment(session)
        if len(tries) < 3:
            raise lost()
        return "done"

    assert await database.in_transaction(work) == "done"
    assert (len(tries), await value()) == (3, 1)


@pytest.mark.parametrize("nested", [False, True])
async def test_of_two_that_wait_for_each_other_both_get_done(
    service: FastAPI, *, nested: bool
) -> None:
    """A real deadlock, which the server ends; where only one writes at a time there is none."""
    async with database.session_context() as session:
        await session.execute(text("UPDATE counters SET value = 1"))
        await session.execute(text("INSERT INTO counters VALUES (1000)"))
    one_writer = FLAVOUR.name == "sqlite"
    both, tries = asyncio.Barrier(2), 0

    async def work(session: AsyncSession, order: str) -> None:
        nonlocal tries
        tries += 1
        one = text("UPDATE counters SET value = value + 1 WHERE value < 1000")
        other = text("UPDATE counters SET value = value + 1 WHERE value >= 1000")
        first, second = (one, other) if order == "forth" else (other, one)
        await session.execute(first)
        if tries <= 2:
            with suppress(TimeoutError, asyncio.BrokenBarrierError):
                await asyncio.wait_for(both.wait(), 0.1 if one_writer else 10)
        async with session.begin_nested() if nested else nullcontext():
            await session.execute(second)

    await asyncio.gather(
        *(database.in_transaction(partial(work, order=order)) for order in ("forth", "back"))
    )
    async with database.read_session_context() as session:
        assert set(await session.scalars(text("SELECT value FROM counters"))) == {3, 1002}
    assert tries == (2 if one_writer else 3)


async def test_a_savepoint_that_never_was_is_no_lost_conflict(service: FastAPI) -> None:
    async with database.session_context() as session:
        with pytest.raises(DBAPIError) as failed:
            await session.execute(text("ROLLBACK TO SAVEPOINT nowhere"))
        await session.rollback()
    assert not handle.is_conflict(failed.value)


async def test_a_row_that_was_changed_meanwhile_is_a_lost_conflict() -> None:
    assert handle.is_conflict(StaleDataError())


async def test_work_is_not_done_again_for_ever(
    service: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handle, "is_conflict", lambda error: isinstance(error, DBAPIError))
    tries: list[int] = []

    async def work(_: AsyncSession) -> None:
        tries.append(1)
        raise lost()

    with pytest.raises(OperationalError):
        await database.in_transaction(work, attempts=2)
    assert len(tries) == 2


async def test_another_failure_is_final(service: FastAPI) -> None:
    tries: list[int] = []

    async def work(session: AsyncSession) -> None:
        tries.append(1)
        await session.execute(text("SELECT * FROM no_such_table"))

    with pytest.raises(DBAPIError):
        await database.in_transaction(work)
    assert len(tries) == 1


async def test_tables_can_be_made_without_migrations(service: FastAPI) -> None:
    await init_db()
    for each in DATABASES:
        async with each.read_session_context() as session:
            connection = await session.connection()
            for table in each.metadata.sorted_tables:
                count = select(func.count()).select_from(table)
                assert await connection.scalar(count) == 0


@pytest.fixture
def other_databases(new_databases: NewDatabases) -> Iterator[Addresses]:
    with new_databases() as made:
        yield made


async def test_readers_ask_the_replica(
    settings: Settings, empty_databases: Addresses, other_databases: Addresses
) -> None:
    """An empty database plays the replica: what was written elsewhere is not there."""
    replica = database.variable.replace("database_url", "database_replica_url")
    with_replica = empty_databases | {replica: other_databases[database.variable]}
    async with database.connected(with_changes(settings, **with_replica)):
        await make_tables(database, TABLES)
        async with database.session_context() as session:
            await session.execute(text("SELECT * FROM counters"))
        async with database.read_session_context() as session:
            with pytest.raises(DBAPIError, match="counters"):
                await session.execute(text("SELECT * FROM counters"))
