"""What SQLite only does when it is told to."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.config import Settings
from app.core.application import create_app
from tests.core.first_database import database
from tests.core.plugin import Addresses, with_changes


@pytest.fixture
async def connection(
    empty_databases: Addresses, settings: Settings
) -> AsyncIterator[AsyncConnection]:
    app = create_app(with_changes(settings, **empty_databases))
    async with app.router.lifespan_context(app), database.engine.connect() as connection:
        yield connection


async def test_no_row_refers_to_one_that_is_not_there(connection: AsyncConnection) -> None:
    await connection.exec_driver_sql("CREATE TABLE shelves (id INTEGER PRIMARY KEY)")
    await connection.exec_driver_sql("CREATE TABLE books (shelf INTEGER REFERENCES shelves (id))")
    with pytest.raises(IntegrityError):
        await connection.exec_driver_sql("INSERT INTO books VALUES (7)")


async def test_who_reads_does_not_hold_up_who_writes(connection: AsyncConnection) -> None:
    assert (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar() == "wal"
