"""Running migrations: what `migrations/env.py` calls.

Migrations are a step of their own before the service starts. Several at once are safe: one
works, the others wait for it and find nothing left to do.
"""

import asyncio
import sys
from typing import Any

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection, MetaData

from app.core.database.engine import build_engine
from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.settings import DatabaseSettings
from app.core.database.types import UtcDateTime
from app.core.logging import configure_logging


def run_migrations(settings: DatabaseSettings, metadata: MetaData) -> None:
    """Run what the `alembic` command asks for, on the database or as SQL (`--sql`).

    Raises:
        TimeoutError: another migrator held the lock for too long.
    """
    # Standard output is for the SQL that `--sql` asks for.
    configure_logging(settings, sys.stderr)
    if context.is_offline_mode():
        context.configure(dialect_name=FLAVOUR.name, literal_binds=True, **_options(metadata))
        with context.begin_transaction():
            for statement in FLAVOUR.migration_limits(settings.db_migration_statement_timeout):
                context.execute(statement)
            context.run_migrations()
    else:
        asyncio.run(_run_online(settings, metadata))


async def _run_online(settings: DatabaseSettings, metadata: MetaData) -> None:
    alone = settings.model_copy(update={"db_use_null_pool": True})
    engine = build_engine(settings.async_migration_url, alone)
    async with engine.connect() as connection:
        await connection.run_sync(_migrate, settings, metadata)
    await engine.dispose()


def _migrate(connection: Connection, settings: DatabaseSettings, metadata: MetaData) -> None:
    limits = settings.db_migration_lock_timeout, settings.db_migration_statement_timeout
    with FLAVOUR.migration_lock(connection, *limits):
        context.configure(connection=connection, **_options(metadata))
        with context.begin_transaction():
            context.run_migrations()


def _options(metadata: MetaData) -> dict[str, Any]:
    return {
        "target_metadata": metadata,
        "compare_server_default": True,
        "render_as_batch": FLAVOUR.name == "sqlite",
        "render_item": _render_item,
        # SQLite's too: the engine begins its transactions itself (see flavours).
        "transactional_ddl": FLAVOUR.name != "mysql",
    }


def _render_item(kind: str, item: object, autogenerate: AutogenContext) -> str | bool:
    """Write plain types into migrations: they must not change when the code's types do."""
    if kind == "type" and isinstance(item, UtcDateTime):
        autogenerate.imports.add("from sqlalchemy.dialects import mysql")
        return 'sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")'
    return False
