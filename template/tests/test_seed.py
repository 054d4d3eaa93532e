"""What a new database begins with, and what a migration makes of it."""

import asyncio
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Select, Update, func, select, update

from app.config import Settings
from app.core.database.layout import DATABASES
from app.core.development.seed import run
from app.core.migrate import configurations
from app.models.document import Document
from tests.core.everywhere import everywhere
from tests.core.migrating import as_environment, environment, migrate
from tests.core.plugin import Addresses, with_changes

LAST = DATABASES[-1]
DOCUMENTS = Document.metadata.tables["documents"]
BEFORE_SIZES = "0004" if LAST.section == "alembic" else f"{LAST.section}_0004"


@pytest.fixture
def seeded(empty_databases: Addresses, settings: Settings) -> Settings:
    """Settings of a service whose databases were seeded, twice."""
    migrate(empty_databases)
    own = with_changes(settings, **empty_databases)
    for _ in range(2):
        asyncio.run(run(own))
    return own


def execute(settings: Settings, statement: Select[Any] | Update) -> Any:
    async def ask() -> Any:
        async with LAST.connected(settings):
            with everywhere():
                async with LAST.session_context() as session:
                    done = await session.execute(statement)
                    return None if isinstance(statement, Update) else done.all()

    return asyncio.run(ask())


def test_data_is_seeded_once(seeded: Settings) -> None:
    assert execute(seeded, select(func.count()).select_from(DOCUMENTS)) == [(1,)]


def test_sizes_are_filled_in(seeded: Settings, empty_databases: Addresses) -> None:
    sizes = select(DOCUMENTS.c.size)
    [(size,)] = execute(seeded, sizes)
    execute(seeded, update(DOCUMENTS).values(size=0))
    with environment(**as_environment(empty_databases)):
        command.downgrade(configurations()[-1], BEFORE_SIZES)
    assert execute(seeded, sizes) == [(0,)]
    migrate(empty_databases)
    assert execute(seeded, sizes) == [(size,)]
    assert size > 0
