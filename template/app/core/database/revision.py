"""Whether a database has every migration that this code needs."""

import asyncio
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from app.core.piece import Details

if TYPE_CHECKING:
    from app.core.database.handle import Database
    from app.core.registry import CoreSettings


def version_table(section: str) -> str:
    """The table in which Alembic keeps the revision; two histories may share a server."""
    return "alembic_version" if section == "alembic" else f"alembic_version_{section}"


@cache
def _revisions(section: str) -> tuple[frozenset[str], frozenset[str]]:
    """The heads of this code's migrations, and all that it knows."""
    # Alembic costs a tenth of a second to import, and requests never need it.
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    scripts = ScriptDirectory.from_config(Config("alembic.ini", ini_section=section))
    known = (script.revision for script in scripts.walk_revisions())
    return frozenset(scripts.get_heads()), frozenset(known)


def _applied(connection: Connection, table: str) -> frozenset[str]:
    if not inspect(connection).has_table(table):
        return frozenset()
    rows = connection.execute(text(f"SELECT version_num FROM {table}"))  # noqa: S608
    return frozenset(rows.scalars())


def is_ahead(connection: Connection, section: str) -> bool:
    """Whether newer code than this has migrated a database."""
    _, known = _revisions(section)
    return not _applied(connection, version_table(section)) <= known


async def check_revision(database: "Database", _: "CoreSettings") -> Details:
    """Compare the revision in a database with this code's.

    A revision that this code does not know is newer: during a roll-out the old processes go on
    serving on the migrated database.

    Raises:
        RuntimeError: migrations are missing.
    """
    heads, known = await asyncio.to_thread(_revisions, database.section)
    async with database.observer.connect() as connection:
        applied = await connection.run_sync(_applied, version_table(database.section))
    behind = not heads <= applied and applied <= known
    if behind:
        raise RuntimeError(f"the database is behind its migrations: {sorted(applied)}")
    return {"revision": ", ".join(sorted(applied)) or None}
