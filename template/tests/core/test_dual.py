"""What holds for two databases together."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from fastapi import APIRouter
from httpx2 import AsyncClient
from sqlalchemy import text

from app.config import Settings
from app.core import health
from app.core.application import create_app
from app.core.database import GeneralSessionDep, UserSessionDep
from app.core.database.layout import DATABASES
from app.core.discovery import import_submodules
from app.core.migrate import configurations
from tests.core.migrating import alembic, migrate
from tests.core.outages import Line, line_to
from tests.core.plugin import Addresses, caller_of, with_changes


@pytest.fixture
async def line(empty_databases: Addresses) -> AsyncIterator[Line]:
    """The line to the general database."""
    async with line_to(empty_databases["database_url_general"]) as line:
        yield line


@pytest.fixture
async def caller(
    line: Line,
    empty_databases: Addresses,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[AsyncClient]:
    monkeypatch.setattr(health, "CACHE_SECONDS", 0.0)
    router = APIRouter()

    @router.get("/user")
    async def user(session: UserSessionDep) -> int:
        return int(await session.scalar(text("SELECT 1")) or 0)

    @router.get("/general")
    async def general(session: GeneralSessionDep) -> int:
        return int(await session.scalar(text("SELECT 2")) or 0)

    addresses = empty_databases | {"database_url_general": line.url}
    app = create_app(
        with_changes(settings, **addresses, db_use_null_pool=line.url.startswith("sqlite")),
        routers=[router],
    )
    async with app.router.lifespan_context(app), caller_of(app) as caller:
        yield caller


async def test_one_may_be_down_while_the_other_serves(line: Line, caller: AsyncClient) -> None:
    assert (await caller.get("/api/v1/user")).json() == 1
    assert (await caller.get("/api/v1/general")).json() == 2

    await line.cut()
    assert (await caller.get("/api/v1/user")).json() == 1
    assert (await caller.get("/api/v1/general")).status_code == 503
    ready = await caller.get("/ready")
    states = {name: each["status"] for name, each in ready.json()["components"].items()}
    assert ready.status_code == 503
    assert (states["user_database"], states["general_database"]) == ("up", "down")

    await line.mend()
    assert (await caller.get("/api/v1/general")).json() == 2


def test_both_may_share_one_server(empty_databases: Addresses) -> None:
    """Neither history takes the other's tables for leftovers."""
    shared = {name: empty_databases[_user(name)] for name in empty_databases}
    migrate(shared)
    alembic(shared, command.check)


def _user(name: str) -> str:
    return name.replace("general", "user")


def test_a_table_belongs_to_one_of_them() -> None:
    import_submodules("app.models")
    user, general = (set(database.metadata.tables) for database in DATABASES)
    assert not user & general


def test_each_has_migrations_of_its_own() -> None:
    scripts = [ScriptDirectory.from_config(config) for config in configurations()]
    assert [Path(each.versions).name for each in scripts] == ["user", "general"]
