"""No statement takes longer than it may: the server itself ends it."""

from time import monotonic

import pytest
from fastapi import APIRouter
from httpx2 import AsyncClient
from sqlalchemy import text

from app.config import Settings
from app.core.application import create_app
from app.core.database.flavours.flavour import FLAVOUR
from tests.core.first_database import ReadSessionDep, SessionDep, database
from tests.core.plugin import Addresses, caller_of, with_changes

SLEEP = text({"postgresql": "SELECT pg_sleep(:s)", "mysql": "SELECT SLEEP(:s)"}[FLAVOUR.name])
SLOW = SLEEP.bindparams(s=20)

router = APIRouter()


@router.get("/writing")
async def writing(session: SessionDep) -> None:
    await session.execute(SLOW)


@router.get("/reading")
async def reading(session: ReadSessionDep) -> None:
    await session.execute(SLOW)


@pytest.mark.parametrize("path", ["/writing", "/reading"])
async def test_a_statement_ends_in_time(
    empty_databases: Addresses, settings: Settings, path: str
) -> None:
    own = with_changes(settings, **empty_databases, db_statement_timeout=1)
    app = create_app(own, routers=[router])
    async with app.router.lifespan_context(app), caller_of(app) as caller:
        async with database.observer.connect() as connection:
            if FLAVOUR.name == "mysql" and not getattr(connection.dialect, "is_mariadb", False):
                pytest.skip("MySQL itself has no limit that covers every statement; MariaDB has")
        seconds = [await _ask(caller, path)]
        while min(seconds) >= 10 and len(seconds) < 3:  # the machine may have stood still
            seconds.append(await _ask(caller, path))
    assert 1 <= min(seconds) < 10


async def test_a_migration_has_time_of_its_own(
    empty_databases: Addresses, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"app.core.database.flavours.{FLAVOUR.name}.SILENCE_SECONDS", 0)
    own = with_changes(settings, **empty_databases, db_statement_timeout=1)
    async with database.connected(own), database.migrator.connect() as connection:
        await connection.execute(SLEEP.bindparams(s=2))


async def _ask(caller: AsyncClient, path: str) -> float:
    began = monotonic()
    answer = await caller.get(f"/api/v1{path}")
    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
    return monotonic() - began
