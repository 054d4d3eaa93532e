"""SQLite: its online backup, by Python itself, which copies a database that is in use."""

import sys
from pathlib import Path

from sqlalchemy import URL

from app.core.backup.target import Target

SUFFIX = ".db"

# Opening a file must not make it: an empty database would be saved, and nobody would know.
_DUMP = """
import os, pathlib, shutil, sqlite3, sys
os.umask(0o077)
file = pathlib.Path(sys.argv[1]).absolute()
file.is_file() or sys.exit(f"{file} is missing")
copy = sys.argv[1] + ".backup"
try:
    source = sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True)
    sink = sqlite3.connect(copy)
    source.backup(sink)
    sink.close()
    with open(copy, "rb") as whole:
        shutil.copyfileobj(whole, sys.stdout.buffer)
finally:
    os.path.exists(copy) and os.remove(copy)
"""
_READ = """
import os, shutil, sqlite3, sys
copy = sys.argv[1] + ".restore"
os.umask(0o077)
try:
    with open(copy, "wb") as whole:
        shutil.copyfileobj(sys.stdin.buffer, whole)
    source = sqlite3.connect(copy)
    assert source.execute("PRAGMA integrity_check").fetchone() == ("ok",), "the file is damaged"
    if sys.argv[2] == "load":
        sink = sqlite3.connect(sys.argv[1], timeout=10)
        source.backup(sink)
        sink.close()
finally:
    os.path.exists(copy) and os.remove(copy)
"""
_TABLES = """
import pathlib, sqlite3, sys
file = pathlib.Path(sys.argv[1]).absolute()
count = "SELECT count(*) FROM sqlite_master WHERE type = 'table'"
there = f"{file.as_uri()}?mode=rw"
print(sqlite3.connect(there, uri=True).execute(count).fetchone()[0] if file.exists() else 0)
"""


def dump(target: Target, file: Path) -> None:
    """Save a database as it is at one moment, while it is being written to.

    Raises:
        BackupError: it cannot be done.
    """
    target.run(_python(target, _DUMP), writes=file)


def check(target: Target, file: Path) -> None:
    """Read a file to its end.

    Raises:
        BackupError: it is damaged.
    """
    target.run([*_python(target, _READ), "check"], reads=file)


def load(target: Target, file: Path) -> None:
    """Restore a database: what was in it is no more.

    Raises:
        BackupError: it cannot be done, for example because the service still works with it.
    """
    target.run([*_python(target, _READ), "load"], reads=file)


def holds_tables(target: Target) -> bool:
    """Whether a database has any table.

    Raises:
        BackupError: it cannot be told.
    """
    return int(target.run(_python(target, _TABLES))) > 0


def clear(target: Target) -> None:
    """Nothing is to be done: `load` replaces all pages of the file."""


def container_of(database: str) -> tuple[str, ...]:
    """Name a container that has the volume of the databases, whether or not the service runs."""
    return "run", "--rm", "-T", "--no-deps", "migrate"


def seen_from_inside(url: URL) -> URL:
    """Give the address within that container."""
    return url


def _python(target: Target, script: str) -> list[str]:
    program = "python" if target.container else sys.executable
    return [program, "-c", script, str(target.url.database)]
