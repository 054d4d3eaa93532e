"""The database goes away and comes back while the service runs."""

from collections.abc import AsyncIterator

import pytest
from fastapi import APIRouter
from httpx2 import AsyncClient
from sqlalchemy import text

from app.config import Settings
from app.core import health
from app.core.application import create_app
from tests.core.first_database import ReadSessionDep, SessionDep, database
from tests.core.outages import Line, line_to
from tests.core.plugin import Addresses, caller_of, with_changes

PATHS = ["/api/v1/writing", "/api/v1/reading"]


@pytest.fixture
async def line(empty_databases: Addresses) -> AsyncIterator[Line]:
    async with line_to(empty_databases[database.variable]) as line:
        yield line


@pytest.fixture
async def caller(
    line: Line,
    empty_databases: Addresses,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[AsyncClient]:
    """A caller of a service on that line; SQLite keeps no connection, so that it notices."""
    monkeypatch.setattr(health, "CACHE_SECONDS", 0.0)
    router = APIRouter()

    @router.get("/writing")
    async def writing(session: SessionDep) -> int:
        return int(await session.scalar(text("SELECT 1")) or 0)

    @router.get("/reading")
    async def reading(session: ReadSessionDep) -> int:
        return int(await session.scalar(text("SELECT 1")) or 0)

    keep_none = line.url.startswith("sqlite")
    addresses = empty_databases | {database.variable: line.url}
    on_the_line = with_changes(settings, **addresses, db_use_null_pool=keep_none)
    app = create_app(on_the_line, routers=[router])
    async with app.router.lifespan_context(app), caller_of(app) as caller:
        yield caller


async def test_nobody_notices_more_than_a_503(line: Line, caller: AsyncClient) -> None:
    for path in PATHS:
        assert (await caller.get(path)).json() == 1

    await line.cut()
    assert (await caller.get("/health")).status_code == 200
    ready = await caller.get("/ready")
    assert (ready.status_code, ready.json()["components"][database.name]["status"]) == (503, "down")
    for path in PATHS:
        answer = await caller.get(path)
        assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
        assert answer.headers["retry-after"]
        for leak in ("Traceback", "sqlalchemy", "127.0.0.1", "asyncpg", "sqlite"):
            assert leak not in answer.text

    await line.mend()
    for path in PATHS:
        assert (await caller.get(path)).json() == 1
    assert (await caller.get("/ready")).json()["components"][database.name]["status"] == "up"


async def test_a_short_outage_costs_no_request(line: Line, caller: AsyncClient) -> None:
    """Connections that were lost meanwhile are replaced before they are used."""
    for path in PATHS:
        await caller.get(path)
    await line.cut()
    await line.mend()
    for path in PATHS * 2:
        assert (await caller.get(path)).status_code == 200
