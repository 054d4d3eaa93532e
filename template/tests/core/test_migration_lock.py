"""Migrators of PostgreSQL that wait for one another."""

import threading
import time

import pytest
from sqlalchemy import Connection, text

from app.config import Settings
from app.core.database.flavours import postgresql
from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.layout import DATABASES
from tests.core.migrating import look
from tests.core.plugin import Addresses, with_changes


def test_an_index_is_made_while_others_write_and_another_migrator_waits(
    empty_databases: Addresses, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that waits for the lock would be waited for by the index."""
    of = with_changes(settings, **empty_databases)
    waits = threading.Event()

    def pause(seconds: float) -> None:
        waits.set()
        time.sleep(seconds)

    monkeypatch.setattr(postgresql, "sleep", pause)

    def take_the_lock(connection: Connection) -> None:
        with FLAVOUR.migration_lock(connection, 30, 5):
            pass

    other = threading.Thread(target=look, args=[of, DATABASES[0], take_the_lock])

    def make_the_index(connection: Connection) -> None:
        with FLAVOUR.migration_lock(connection, 5, 5):
            connection.execute(text("CREATE TABLE indexed (id integer)"))
            connection.commit()
            other.start()
            connection.execution_options(isolation_level="AUTOCOMMIT")
            assert waits.wait(30)
            connection.execute(text("CREATE INDEX CONCURRENTLY ix_indexed_id ON indexed (id)"))

    look(of, DATABASES[0], make_the_index)
    other.join()
