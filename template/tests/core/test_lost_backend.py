"""A server process that is killed in the middle of a transaction: never a success."""

from collections.abc import AsyncIterator

import pytest
from fastapi import APIRouter
from httpx2 import AsyncClient
from sqlalchemy import Column, Integer, MetaData, Table, func, insert, select, text

from app.config import Settings
from app.core.application import create_app
from app.core.database.tables import make_tables
from tests.core.first_database import SessionDep, database
from tests.core.plugin import Addresses, caller_of, with_changes

TABLES = MetaData()
WRITTEN = Table("written", TABLES, Column("value", Integer))

router = APIRouter()


@router.post("/write", status_code=201)
async def write(session: SessionDep, *, killed: bool, goes_on: bool) -> int:
    await session.execute(insert(WRITTEN).values(value=1))
    process = await session.scalar(text("SELECT pg_backend_pid()"))
    if killed:
        async with database.observer.connect() as connection:
            await connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": process})
    if goes_on:
        await session.execute(insert(WRITTEN).values(value=2))
    return 1


@pytest.fixture
async def caller(empty_databases: Addresses, settings: Settings) -> AsyncIterator[AsyncClient]:
    app = create_app(with_changes(settings, **empty_databases), routers=[router])
    async with app.router.lifespan_context(app), caller_of(app) as caller:
        await make_tables(database, TABLES)
        yield caller


async def stored() -> int:
    async with database.read_session_context() as session:
        return int(await session.scalar(select(func.count()).select_from(WRITTEN)) or 0)


@pytest.mark.parametrize("goes_on", ["false", "true"])
async def test_nothing_is_stored_and_the_caller_is_told(caller: AsyncClient, goes_on: str) -> None:
    path = f"/api/v1/write?goes_on={goes_on}"
    answer = await caller.post(f"{path}&killed=true")
    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
    assert await stored() == 0
    assert (await caller.post(f"{path}&killed=false")).status_code == 201
