"""SQLite needs no server: a directory takes its place."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url


@contextmanager
def local_server(directory: Path, *, durable: bool = True) -> Iterator[str]:
    """Make the directory in which the databases lie.

    Args:
        directory: is made if need be.
        durable: is always so here.

    Yields:
        An address in that directory.
    """
    directory.mkdir(parents=True, exist_ok=True)
    yield f"sqlite:///{directory.resolve() / 'maintenance.db'}"


async def create_database(server: str, name: str) -> str:
    """Give the address of a database file, which SQLite makes when it is first opened."""
    return f"sqlite:///{_file(server, name)}"


async def drop_database(server: str, name: str) -> None:
    """Remove a database file with what belongs to it."""
    _remove(_file(server, name))


async def empty_database(server: str, name: str) -> None:
    """Make a database as good as new."""
    await drop_database(server, name)


def _remove(file: Path) -> None:
    for suffix in ("", "-shm", "-wal"):
        file.with_name(f"{file.name}{suffix}").unlink(missing_ok=True)


def _file(server: str, name: str) -> Path:
    return Path(make_url(server).database or "maintenance.db").with_name(f"{name}.db")
