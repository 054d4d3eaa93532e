"""Jobs of the tests, and the table in which they leave a trace."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import context
from app.core.discovery import import_submodules
from app.core.jobs import Outbox, Retries, task
from app.core.jobs.outbox import OUTBOXES
from tests.core.first_database import database

BEGUN = "TESTS_BEGUN_JOBS"
"""The variable with the directory where runs are written down."""
TABLES = MetaData()
TRACES = Table(
    "traces",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("job_id", String(64)),
    Column("text", String(200)),
)


def own_outbox() -> Outbox:
    """The outbox of the first database: the service's, or one of the tests."""
    import_submodules("app.models")
    return OUTBOXES.get(database) or Outbox(database, metadata=TABLES)


async def leave(session: AsyncSession, text: str) -> None:
    job_id = (context.job.get() or {}).get("job_id")
    await session.execute(insert(TRACES).values(text=text, job_id=job_id))


async def traces(text: str) -> list[str]:
    """The ids of the jobs that have left a trace."""
    async with database.session_context() as session:
        found = select(TRACES.c.job_id).where(TRACES.c.text == text).order_by(TRACES.c.id)
        return list(await session.scalars(found))


def begin(text: str) -> int:
    """Write down that a run has begun, whatever becomes of it, and count the runs."""
    with Path(os.environ[BEGUN], text).open("a") as runs:
        runs.write(f"{os.getpid()}\n")
    return len(begun(text))


def begun(text: str) -> list[int]:
    """The processes in which runs have begun."""
    file = Path(os.environ[BEGUN], text)
    return [int(line) for line in file.read_text().split()] if file.exists() else []


@task(keeps_result=True)
async def note(session: AsyncSession, text: str) -> dict[str, str | None]:
    """Leave a trace, and tell what the job knows."""
    await leave(session, text)
    principal, client = context.principal.get(), context.client.get()
    return {
        "request_id": context.request_id.get(),
        "traceparent": context.traceparent.get(),
        "tenant": (context.job.get() or {}).get("tenant"),
        "principal": None if principal is None else principal.subject,
        "client": client,
    }


@task(once=True)
async def note_once(session: AsyncSession, text: str) -> None:
    """Leave a trace, but once."""
    await leave(session, text)


@task(once=True)
async def hang_at_first(session: AsyncSession, text: str) -> None:
    """Leave a trace; the first run does not come to its end."""
    await leave(session, text)
    if begin(text) == 1:
        await asyncio.sleep(600)


@task(retries=Retries(times=2, first=0.02), keeps_result=True)
async def fail_until(session: AsyncSession, text: str, times: int) -> int:
    """Fail so many times, each after having left a trace that must not stay."""
    await leave(session, text)
    attempts = begin(text)
    if attempts <= times:
        raise RuntimeError("not yet")
    return attempts


@task(time_limit=timedelta(seconds=0.05), retries=Retries(times=0), keeps_result=True)
async def take_too_long() -> None:
    """Exceed the time limit."""
    await asyncio.sleep(600)


@task
async def take_a_while(session: AsyncSession, text: str) -> None:
    """Be at work for a while, then leave a trace."""
    begin(text)
    await asyncio.sleep(0.5)
    await leave(session, text)
