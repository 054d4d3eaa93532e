"""Migrators of PostgreSQL that wait, for one another and for those who write."""

import shutil
import threading
import time
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from app.config import Settings
from app.core.database.flavours import postgresql
from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.layout import DATABASES
from app.core.migrate import configurations
from tests.core.migrating import as_environment, environment, look, migrate
from tests.core.plugin import Addresses, with_changes

INDEX = """
from alembic import op

from app.core.database.concurrently import concurrently

revision = "index"
down_revision = {head!r}


def upgrade() -> None:
    with concurrently():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_written")
        op.create_index("ix_written", "written", ["id"], postgresql_concurrently=True)
    op.execute("CREATE TABLE afterwards AS SELECT current_setting('lock_timeout') AS waits")
"""
WAITS_LONG = """
SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%'
AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > interval '1s'
"""
FOUND = """
SELECT indisvalid, waits FROM pg_index, afterwards WHERE indexrelid = 'ix_written'::regclass
"""


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


def test_an_index_waits_for_a_transaction_for_longer_than_others_may(
    empty_databases: Addresses,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    of = with_changes(settings, **empty_databases)
    migrate(empty_databases)
    shutil.copytree("migrations", tmp_path / "migrations")
    shutil.copy("alembic.ini", tmp_path)
    scripts = ScriptDirectory.from_config(configurations()[0])
    versions = tmp_path / Path(scripts.versions).relative_to(Path.cwd())
    versions.mkdir(exist_ok=True)
    (versions / "index.py").write_text(INDEX.format(head=scripts.get_current_head()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(postgresql, "LOCK_LIMIT", "SET lock_timeout = '100ms'")
    writes, ended = threading.Event(), threading.Event()

    def write(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE written (id integer)"))
        connection.commit()
        connection.execute(text("INSERT INTO written VALUES (1)"))
        writes.set()
        while not ended.wait(0.1) and not connection.scalar(text(WAITS_LONG)):
            connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        connection.commit()

    writer = threading.Thread(target=look, args=[of, DATABASES[0], write])
    writer.start()
    assert writes.wait(30)
    try:
        with environment(**as_environment(empty_databases)):
            command.upgrade(configurations()[0], "head")
    finally:
        ended.set()
        writer.join()
    found = look(of, DATABASES[0], lambda connection: connection.execute(text(FOUND)).all())
    assert found == [(True, "100ms")]
