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

SLOW = text({"postgresql": "SELECT pg_sleep(20)", "mysql": "SELECT SLEEP(20)"}[FLAVOUR.name])

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


async def _ask(caller: AsyncClient, path: str) -> float:
    began = monotonic()
    answer = await caller.get(f"/api/v1{path}")
    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
    return monotonic() - began
