import asyncio
import io
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Never

import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy import (
    CheckConstraint,
    Executable,
    String,
    delete,
    event,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, InvalidRequestError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from app.config import Settings
from app.core.application import create_app
from app.core.auth import public
from app.core.database import utc_now
from app.core.database.handle import Database
from app.core.database.tables import make_tables
from app.core.errors import ConflictError
from app.core.logging import configure_logging
from tests.core.first_database import (
    ExtraBase,
    ExtraModel,
    ReadSessionDep,
    SessionDep,
    database,
)
from tests.core.plugin import Addresses, caller_of, with_changes


class Note(ExtraModel):
    """Something to store."""

    __tablename__ = "notes_of_the_tests"

    __table_args__ = (CheckConstraint("text <> ''"),)

    text: Mapped[str] = mapped_column(String(50), unique=True)


@pytest.fixture
async def service(empty_databases: Addresses, settings: Settings) -> AsyncIterator[FastAPI]:
    """An application that really commits, on a database of its own."""
    router = APIRouter()

    @router.post("/notes", status_code=201)
    async def write(text: str, session: SessionDep) -> str:
        session.add(Note(text=text))
        await session.flush()
        return text

    @router.post("/notes/refused")
    async def write_and_refuse(text: str, session: SessionDep) -> None:
        session.add(Note(text=text))
        await session.flush()
        raise ConflictError("Changed my mind")

    @router.post("/notes/by-reader")
    async def write_by_reader(text: str, session: ReadSessionDep) -> None:
        session.add(Note(text=text))
        await session.flush()

    @router.get("/notes")
    async def read(session: ReadSessionDep) -> list[str]:
        return list(await session.scalars(select(Note.text)))

    app = create_app(with_changes(settings, **empty_databases), routers=[router])
    async with app.router.lifespan_context(app):
        await make_tables(database, ExtraBase.metadata)
        yield app


async def stored() -> list[str]:
    async with database.read_session_context() as session:
        return sorted(await session.scalars(select(Note.text)))


async def test_an_endpoint_s_changes_are_committed(service: FastAPI) -> None:
    async with caller_of(service) as caller:
        assert (await caller.post("/api/v1/notes?text=a")).status_code == 201
        assert (await caller.get("/api/v1/notes")).json() == ["a"]


async def test_an_exception_undoes_them(service: FastAPI) -> None:
    async with caller_of(service) as caller:
        assert (await caller.post("/api/v1/notes/refused?text=a")).status_code == 409
    assert await stored() == []


def test_outside_of_the_lifespan_there_is_no_database() -> None:
    other = Database(
        name="other",
        section="other",
        base=ExtraBase,
        variable=database.variable,
        replica_variable=database.replica_variable,
        addresses=database.addresses,
    )
    for name in ("engine", "observer", "migrator", "current_addresses"):
        with pytest.raises(RuntimeError, match="outside of the application's lifespan"):
            getattr(other, name)


async def test_a_time_without_its_zone_is_refused(service: FastAPI) -> None:
    somewhere = datetime(2026, 1, 1)  # noqa: DTZ001
    async with database.session_context() as session:
        session.add(Note(text="a", created_at=somewhere))
        with pytest.raises(StatementError, match="without time zone"):
            await session.flush()
        await session.rollback()


async def test_what_fails_is_told_without_the_values(service: FastAPI) -> None:
    async with database.session_context() as session:
        with pytest.raises(DBAPIError) as failed:
            await session.execute(text("SELECT :value FROM nowhere"), {"value": "of a caller"})
        await session.rollback()
    assert "nowhere" in str(failed.value)
    assert "of a caller" not in str(failed.value)


@pytest.mark.parametrize("debug", [True, False])
async def test_sql_is_logged_when_somebody_looks_for_a_fault(
    debug: bool, empty_databases: Addresses, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    app = create_app(with_changes(settings, **empty_databases, debug=debug))
    async with app.router.lifespan_context(app), database.read_session_context() as session:
        await session.execute(text("SELECT 4711"))
    assert ("SELECT 4711" in capsys.readouterr().out) is debug


async def test_a_failed_commit_is_never_a_success(service: FastAPI) -> None:
    def fail(_: Session) -> None:
        raise RuntimeError("the commit fails")

    event.listen(Session, "before_commit", fail)
    try:
        async with caller_of(service) as caller:
            answer = await caller.post("/api/v1/notes?text=a")
    finally:
        event.remove(Session, "before_commit", fail)
    assert answer.status_code == 500
    assert await stored() == []


async def test_a_broken_constraint_is_a_conflict(service: FastAPI) -> None:
    async with caller_of(service) as caller:
        await caller.post("/api/v1/notes?text=a")
        twice = await caller.post("/api/v1/notes?text=a")
        empty = await caller.post("/api/v1/notes?text=")
    for answer in (twice, empty):
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "notes_of_the_tests" not in answer.text
    assert await stored() == ["a"]


@pytest.mark.parametrize(
    ("error", "headers", "status"),
    [
        (PoolTimeoutError("all connections are in use"), {}, 503),
        (StaleDataError("another one was faster"), {}, 409),
        (StaleDataError("another one was faster"), {"If-Match": '"1"'}, 412),
    ],
    ids=["pool", "conflict", "precondition"],
)
async def test_what_a_session_raises_is_a_problem(
    settings: Settings, error: Exception, headers: dict[str, str], status: int
) -> None:
    async def fail() -> None:
        raise error

    router = APIRouter()
    router.get("/failing")(public(fail))
    async with caller_of(create_app(settings, routers=[router])) as caller:
        answer = await caller.get("/api/v1/failing", headers=headers)
    assert (answer.status_code, str(error) in answer.text) == (status, False)


async def test_a_read_session_refuses_to_write(service: FastAPI) -> None:
    async with caller_of(service) as caller:
        assert (await caller.post("/api/v1/notes/by-reader?text=a")).status_code == 500
    assert await stored() == []


@pytest.mark.parametrize(
    "statement",
    [
        insert(Note).values(text="a"),
        update(Note).values(text="a"),
        delete(Note),
        text("DELETE FROM notes_of_the_tests"),
        text("/* SELECT */ DELETE FROM notes_of_the_tests"),
        text("WITH old AS (SELECT 1) DELETE FROM notes_of_the_tests"),
        text("WITH gone AS (DELETE FROM notes_of_the_tests RETURNING id) SELECT * FROM gone"),
        text("EXPLAIN ANALYZE DELETE FROM notes_of_the_tests"),
        text("SELECT * INTO copied FROM notes_of_the_tests"),
        text("SELECT 'it''s'; Delete\nFROM notes_of_the_tests --'"),
    ],
)
async def test_a_read_session_refuses_statements_that_write(
    service: FastAPI, statement: Executable
) -> None:
    async with database.read_session_context() as session:
        with pytest.raises(RuntimeError, match="only reads"):
            await session.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'insert; it''s'",
        "/* update */ SELECT 1 -- delete",
        " select max(updated_at) FROM {}",
    ],
)
async def test_a_read_session_reads_texts_that_speak_of_writing(
    service: FastAPI, statement: str
) -> None:
    async with database.read_session_context() as session:
        await session.execute(text(statement.format(Note.__tablename__)))


async def test_a_read_session_refuses_to_lock(service: FastAPI) -> None:
    """Without a transaction the lock would be gone at once."""
    async with database.read_session_context() as session:
        for statement in (
            select(Note).with_for_update(),
            select(Note.id).with_for_update(read=True),
        ):
            with pytest.raises(RuntimeError, match="can lock no row"):
                await session.execute(statement)


async def test_a_session_outside_of_requests_commits(service: FastAPI) -> None:
    note = Note(text="job")
    async with database.session_context() as session:
        session.add(note)
    assert await stored() == ["job"]
    assert (inspect(note).detached, in_use()) == (True, 0)


async def test_a_session_outside_of_requests_rolls_back(service: FastAPI) -> None:
    with pytest.raises(RuntimeError, match="job failed"):
        await _failing_job()
    assert await stored() == []


async def _failing_job() -> None:
    async with database.session_context() as session:
        session.add(Note(text="job"))
        await session.flush()
        raise RuntimeError("job failed")


async def test_a_cancelled_task_returns_its_connection(service: FastAPI) -> None:
    holding = asyncio.Event()

    async def hold() -> None:
        async with database.session_context() as session:
            await session.execute(text("SELECT 1"))
            holding.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await holding.wait()
    assert in_use() == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert in_use() == 0


async def test_an_endpoint_without_queries_takes_no_connection(service: FastAPI) -> None:
    async with database.session_context():
        assert in_use() == 0


def in_use() -> int:
    checked_out: int = database.engine.pool.checkedout()  # type: ignore[attr-defined]
    return checked_out


async def test_times_come_back_as_they_were_stored(service: FastAPI) -> None:
    moment = utc_now()
    async with database.session_context() as session:
        note = Note(text="time", created_at=moment)
        session.add(note)
        await session.flush()
        await session.refresh(note)
        assert note.created_at == moment
        assert note.created_at.utcoffset() == moment.utcoffset()


async def test_ids_sort_by_age(service: FastAPI) -> None:
    async with database.session_context() as session:
        for number in range(5):
            session.add(Note(text=str(number)))
            await session.flush()
        assert list(await session.scalars(select(Note.text).order_by(Note.id))) == list("01234")


async def test_a_database_that_is_not_started_says_so() -> None:
    database = Database(
        name="",
        section="",
        base=ExtraBase,
        variable="",
        replica_variable="",
        addresses=_no_addresses,
    )
    with pytest.raises(RuntimeError, match="lifespan"):
        _ = database.engine
    for context in (database.session_context, database.read_session_context):
        with pytest.raises(RuntimeError, match="lifespan"):
            await context().__aenter__()


def _no_addresses(_: object) -> Never:
    raise AssertionError


@pytest.mark.parametrize("use_null_pool", [False, True])
async def test_both_kinds_of_pool_serve(settings: Settings, *, use_null_pool: bool) -> None:
    other = create_app(with_changes(settings, db_use_null_pool=use_null_pool))
    async with other.router.lifespan_context(other), caller_of(other) as caller:
        answers = await asyncio.gather(*(caller.get("/ready") for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}


async def test_a_full_pool_is_no_outage(settings: Settings) -> None:
    small = with_changes(settings, db_pool_size=1, db_max_overflow=0, db_pool_timeout=0.1)
    app = create_app(small)
    async with (
        app.router.lifespan_context(app),
        caller_of(app) as caller,
        database.read_session_context() as session,
    ):
        await session.execute(text("SELECT 1"))
        assert (await caller.get("/ready")).status_code == 200


async def test_a_session_cannot_be_used_after_its_scope(service: FastAPI) -> None:
    async with database.session_context() as session:
        kept: AsyncSession = session
    assert not kept.in_transaction()
    with pytest.raises(InvalidRequestError):
        await kept.refresh(Note(text="never stored"))


@pytest.mark.parametrize("debug", [True, False])
async def test_sql_is_logged_while_somebody_looks_for_a_fault(
    service: FastAPI, settings: Settings, *, debug: bool
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), write_through=True)
    changes = {"log_format": "json", "log_level": "INFO", "debug": debug}
    configure_logging(with_changes(settings, **changes), stream)
    try:
        async with database.session_context() as session:
            await session.execute(text("SELECT 7"))
    finally:
        configure_logging(settings)
    stream.seek(0)
    said = [(line["logger"], line["event"]) for line in map(json.loads, stream)]
    assert (("sqlalchemy.engine.Engine", "SELECT 7") in said) == debug
