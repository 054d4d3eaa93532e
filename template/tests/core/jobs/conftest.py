"""Fixtures of the tests of jobs."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import APIRouter, FastAPI

from app.config import Settings
from app.core.application import create_app
from app.core.auth import public
from app.core.database.tables import make_tables
from app.core.jobs import Job, Outbox, enqueue
from app.core.jobs.outbox import OUTBOXES
from tests.core.first_database import SessionDep, database
from tests.core.jobs.tasks import BEGUN, TABLES, note, note_once, own_outbox
from tests.core.plugin import Addresses, NewDatabases, with_changes

router = APIRouter()


@router.post("/notes/{text}")
@public
async def write_note(text: str, session: SessionDep) -> str:
    """Enqueue a job, in a transaction that fails when the text says so."""
    job = await enqueue(note, text)
    if text == "failing":
        raise RuntimeError("changed my mind")
    return job.id


@router.post("/sure-notes/{text}")
@public
async def write_sure_note(text: str, session: SessionDep) -> str:
    """Store a job in the outbox."""
    job: Job[None] = await OUTBOXES[database].add(session, note_once, text)
    return job.id


@pytest.fixture(scope="session")
def own_databases(new_databases: NewDatabases) -> Iterator[Addresses]:
    """Databases in which things are really committed."""
    with new_databases() as made:
        yield made


@pytest.fixture(scope="session")
def outbox() -> Iterator[Outbox]:
    """The outbox of the first database."""
    before = dict(OUTBOXES)
    yield own_outbox()
    OUTBOXES.clear()
    OUTBOXES.update(before)


@pytest.fixture(scope="session", autouse=True)
def begun_jobs(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A place where jobs write down that they have begun."""
    os.environ[BEGUN] = str(tmp_path_factory.mktemp("begun"))


@pytest.fixture(scope="session")
def committing(settings: Settings, own_databases: Addresses) -> Settings:
    """Settings that lead to them."""
    return with_changes(settings, **own_databases)


@pytest.fixture
async def service(committing: Settings, outbox: Outbox) -> AsyncIterator[FastAPI]:
    """An application that enqueues the jobs of the tests, and runs them itself."""
    app = create_app(committing, routers=[router])
    async with app.router.lifespan_context(app):
        await make_own_tables()
        yield app


async def make_own_tables() -> None:
    await make_tables(database, database.metadata)
    await make_tables(database, TABLES)
