"""Running migrations: what `migrations/env.py` calls.

Migrations are a step of their own before the service starts. Several at once are safe: one
works, the others wait for it and find nothing left to do.
"""

import asyncio
import sys
from collections.abc import Iterable
from typing import Any

import structlog
from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Column, Connection, MetaData, String, Table, text
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql.schema import SchemaItem

from app.core.database.engine import build_engine
from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.handle import Database
from app.core.database.layout import DATABASES
from app.core.database.revision import (
    DivergedError,
    applied_table,
    is_ahead,
    read_revisions,
    version_table,
)
from app.core.database.roles.role import after_migrations, before_migrations
from app.core.database.settings import ConnectionSettings, driver_url
from app.core.database.types import UtcDateTime
from app.core.logging import configure_logging

LEAVE_WHEN_AHEAD = "leave_when_ahead"
"""Attribute of Alembic's configuration: a database that newer code has migrated stays as it is."""

log = structlog.get_logger(logger_name="app.migrations")


def run_migrations(settings: ConnectionSettings) -> None:
    """Run what the `alembic` command asks for, on a database or as SQL (`--sql`).

    The section of `alembic.ini` (`alembic --name`) tells which database.

    Raises:
        TimeoutError: another migrator held the lock for too long.
    """
    # Standard output is for the SQL that `--sql` asks for.
    configure_logging(settings, sys.stderr)
    section = context.config.config_ini_section
    database = next(database for database in DATABASES if database.section == section)
    if context.is_offline_mode():
        steps: list[set[str]] = []
        options = _options(database, steps)
        context.configure(dialect_name=FLAVOUR.name, literal_binds=True, **options)
        limits = FLAVOUR.migration_limits(settings.db_migration_statement_timeout)
        for statement in (*limits, *before_migrations()):
            context.execute(statement)
        context.run_migrations()
        if steps:
            _record(database, steps[-1])
    else:
        asyncio.run(_run_online(database, settings))


async def _run_online(database: Database, settings: ConnectionSettings) -> None:
    addresses = database.addresses(settings)
    address = driver_url(addresses.migration or addresses.main)
    engine = build_engine(address, settings.of_migrations())
    async with engine.connect() as connection:
        await connection.run_sync(_migrate, database, settings)
    await engine.dispose()


def _migrate(connection: Connection, database: Database, settings: ConnectionSettings) -> None:
    limits = settings.db_migration_lock_timeout, settings.db_migration_statement_timeout
    section = database.section
    with FLAVOUR.migration_lock(connection, *limits):
        may_leave = context.config.attributes.get(LEAVE_WHEN_AHEAD)
        if may_leave and _is_ahead(connection, database):
            log.warning("the database is ahead of this code", database=database.name)
        else:
            _run_migrations(connection, database, record=bool(may_leave))
        # Also where nothing was migrated: a backup that was restored holds no rights.
        kept = version_table(section), applied_table(section)
        after_migrations(connection, database.addresses(settings), *kept)


def _is_ahead(connection: Connection, database: Database) -> bool:
    try:
        return is_ahead(connection, database.section)
    except DivergedError as error:
        raise SystemExit(f"migrations: {database.name}: {error}") from None


def _run_migrations(connection: Connection, database: Database, *, record: bool) -> None:
    connection.commit()
    for statement in before_migrations():
        connection.execute(text(statement))
    connection.commit()
    steps: list[set[str]] = []
    context.configure(connection=connection, **_options(database, steps))
    # Each migration begins its own transaction; in SQLite all share the connection's. Without
    # any migration, Alembic leaves the making of its own table to us.
    context.run_migrations()
    if record or steps:
        noted = read_revisions(connection, applied_table(database.section))
        _record(database, context.get_context().get_current_heads(), noted)
    connection.commit()


def _record(database: Database, heads: Iterable[str], noted: frozenset[str] | None = None) -> None:
    """Note which migrations the database has had, for code that does not know its revision.

    What this code does not know stays noted: code from before the owner squashed migrations, say,
    goes on until it is replaced.
    """
    known = {script.revision for script in context.script.walk_revisions()}
    had = {script.revision for script in context.script.iterate_revisions(tuple(heads), "base")}
    if noted is not None and noted & known == had:
        return
    column: Column[str] = Column("version_num", String(32), primary_key=True)
    table = Table(applied_table(database.section), MetaData(), column)
    context.execute(CreateTable(table, if_not_exists=True))
    context.execute(table.delete().where(column.in_(sorted(known))))
    if had:
        rows = [{column.name: revision} for revision in sorted(had)]
        context.execute(table.insert().values(rows))


def _options(database: Database, steps: list[set[str]]) -> dict[str, Any]:
    """Alembic's options; the heads after each step are appended to `steps`."""
    return {
        "target_metadata": database.metadata,
        "version_table": version_table(database.section),
        "on_version_apply": lambda *, heads, **_: steps.append(heads),
        "include_object": _is_ours(database),
        "compare_server_default": True,
        "render_as_batch": FLAVOUR.name == "sqlite",
        "render_item": _render_item,
        # SQLite's too: the engine begins its transactions itself (see flavours).
        "transactional_ddl": FLAVOUR.name != "mysql",
        # So that no migration holds the locks of another. In SQLite the transaction is what holds
        # off other migrators, so there all of them share one.
        "transaction_per_migration": FLAVOUR.name != "sqlite",
    }


def _is_ours(database: Database) -> Any:
    """Leave alone what no model describes.

    That is the tables of the service's other database, should both share a server, and Alembic's.
    """
    others = [other for other in DATABASES if other is not database]
    foreign = {table for other in others for table in other.metadata.tables}
    foreign |= {version_table(other.section) for other in others}
    foreign |= {applied_table(each.section) for each in DATABASES}

    def include_object(
        _item: SchemaItem, name: str | None, kind: str, _reflected: bool, _other: object
    ) -> bool:
        return kind != "table" or name not in foreign

    return include_object


def _render_item(kind: str, item: object, autogenerate: AutogenContext) -> str | bool:
    """Write plain types into migrations: they must not change when the code's types do."""
    if kind == "type" and isinstance(item, UtcDateTime):
        autogenerate.imports.add("from sqlalchemy.dialects import mysql")
        return 'sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")'
    if kind == "type" and (plain := getattr(item, "in_migrations", None)):
        return str(plain)
    return False
