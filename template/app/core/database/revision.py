"""Whether a database has every migration that this code needs."""

import asyncio
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from app.core.piece import Details

if TYPE_CHECKING:
    from app.core.database.handle import Database, Server
    from app.core.registry import CoreSettings


class DivergedError(RuntimeError):
    """Other code has migrated a database, and not on from where this code would bring it."""


def version_table(section: str) -> str:
    """The table in which Alembic keeps the revision; two histories may share a server."""
    return _table("alembic_version", section)


def applied_table(section: str) -> str:
    """The table of all revisions that a database was brought through, this code's or not."""
    return _table("alembic_applied", section)


def _table(name: str, section: str) -> str:
    return name if section == "alembic" else f"{name}_{section}"


@cache
def _revisions(section: str) -> tuple[frozenset[str], frozenset[str]]:
    """The heads of this code's migrations, and all that it knows."""
    # Alembic costs a tenth of a second to import, and requests never need it.
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    scripts = ScriptDirectory.from_config(Config("alembic.ini", ini_section=section))
    known = (script.revision for script in scripts.walk_revisions())
    return frozenset(scripts.get_heads()), frozenset(known)


def read_revisions(connection: Connection, table: str) -> frozenset[str]:
    """Give what a table of revisions holds; nothing, if there is no such table."""
    if not inspect(connection).has_table(table):
        return frozenset()
    rows = connection.execute(text(f"SELECT version_num FROM {table}"))  # noqa: S608
    return frozenset(rows.scalars())


def _compare(connection: Connection, section: str) -> tuple[frozenset[str], bool]:
    """Give the revision of a database, and whether that is ahead of this code."""
    heads, known = _revisions(section)
    current = read_revisions(connection, version_table(section))
    if current <= known:
        return current, False
    applied = _applied(connection, section)
    # Without the table, as before the first migration of code that keeps it, nobody can tell.
    if applied and (missing := heads - applied - current):
        raise DivergedError(
            f"another branch has migrated this database: it is at {_list(current - known)}, which"
            f" this code does not know, and never had {_list(missing)}. Merge that branch, undo its"
            " migrations with its own code (alembic downgrade), restore a backup or make a new"
            " database. Where all tables are as this code wants them, as after migrations were"
            f" squashed or renamed: alembic --name {section} stamp --purge head"
        )
    return current, True


def _applied(connection: Connection, section: str) -> frozenset[str]:
    try:
        return read_revisions(connection, applied_table(section))
    except DBAPIError:
        # A role that was given its rights by hand may lack that of this table: no reason to stop.
        return frozenset()


def _list(revisions: frozenset[str]) -> str:
    return ", ".join(sorted(revisions))


def is_ahead(connection: Connection, section: str) -> bool:
    """Whether newer code than this has migrated a database.

    Raises:
        DivergedError: code that is not newer has, that of another branch.
    """
    _, ahead = _compare(connection, section)
    return ahead


async def check_revision(database: "Database", _: "CoreSettings") -> Details:
    """Compare the revision in a database with this code's; see `revision_at`."""
    return await revision_at(database.servers[0], database.section)


async def revision_at(server: "Server", section: str) -> Details:
    """Compare the revision that a server has of a database with this code's.

    A revision that this code does not know is newer, if the database has had all of this code's:
    during a roll-out the old processes go on serving on the migrated database.

    Raises:
        RuntimeError: migrations are missing.
    """
    heads, _known = await asyncio.to_thread(_revisions, section)
    async with server.observer.connect() as connection:
        current, ahead = await connection.run_sync(_compare, section)
    behind = not ahead and not heads <= current
    if behind:
        raise RuntimeError(f"the database is behind its migrations: {sorted(current)}")
    return {"revision": ", ".join(sorted(current)) or None}
