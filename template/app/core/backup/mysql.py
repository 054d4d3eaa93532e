"""MySQL and MariaDB: mariadb-dump, or mysqldump where that is what there is."""

import shutil
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.util import asbool

from app.core.backup.target import BackupError, Target
from app.core.database.flavours.flavour import FLAVOUR

SUFFIX = ".sql"

_DUMP = ("mariadb-dump", "mysqldump")
_END = b"\n-- Dump completed"
_END_BYTES = 200
_CLIENT = ("mariadb", "mysql")
_TABLES = "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE()"
_COLLATION = """
SELECT default_collation_name FROM information_schema.schemata WHERE schema_name = DATABASE()
"""


def dump(target: Target, file: Path) -> None:
    """Save a database as it is at one moment, while it is being written to.

    Raises:
        BackupError: it cannot be done.
    """
    # MariaDB's programs do not know this, nor need it: the backup of a MySQL server with GTIDs
    # would set those of the server on which it is restored.
    gtids = "--loose-set-gtid-purged=OFF"
    kinds = ["--routines", "--triggers", "--events", "--hex-blob", "--no-tablespaces"]
    _run(target, _DUMP, [gtids, "--single-transaction", *kinds], writes=file)


def check(target: Target, file: Path) -> None:
    """Look for the last line of a file, which what was cut off lacks.

    Raises:
        BackupError: it is damaged.
    """
    with file.open("rb") as dumped:
        dumped.seek(max(0, file.stat().st_size - _END_BYTES))
        if _END not in dumped.read():
            raise BackupError(f"{file} is damaged: its end is missing")


def load(target: Target, file: Path) -> None:
    """Restore an empty database. What is half restored after a failure is cleared and begun anew.

    Raises:
        BackupError: it cannot be done.
    """
    _run(target, _CLIENT, [], reads=file)


def holds_tables(target: Target) -> bool:
    """Whether a database has any table.

    Raises:
        BackupError: it cannot be told.
    """
    return int(_ask(target, _TABLES)) > 0


def clear(target: Target) -> None:
    """Drop all that is in a database; its collation stays, which foreign keys must agree on.

    Raises:
        BackupError: it cannot be done, for example because the service still works with it.
    """
    collation = _ask(target, _COLLATION).strip()
    quoted = "`" + str(target.url.database).replace("`", "``") + "`"
    _ask(
        target,
        "SET lock_wait_timeout = 10;"
        f"DROP DATABASE {quoted}; CREATE DATABASE {quoted} COLLATE {collation}",
    )


def container_of(database: str) -> tuple[str, ...]:
    """Name the container in which a database is; its environment has the password."""
    shell = ("sh", "-c", 'MYSQL_PWD="$MARIADB_PASSWORD" exec "$@"', "--")
    return "exec", "-T", database.replace("_", "-"), *shell


def seen_from_inside(url: URL) -> URL:
    """Give the address within that container."""
    return URL.create("mysql", username=url.username, host="127.0.0.1", database=url.database)


def _ask(target: Target, statement: str) -> str:
    return _run(target, _CLIENT, ["--batch", "--skip-column-names", "--execute", statement])


def _tls(url: URL, program: str) -> list[str]:
    """Encrypt and verify as the driver does; MariaDB's programs would verify unasked from 11.4 on.

    What is loose is known to only one of MySQL and MariaDB.
    """
    given = {name: str(value) for name, value in url.query.items() if name.startswith("ssl_")}
    checks_host = asbool(given.pop("ssl_check_hostname", "true"))
    options = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    mode = "REQUIRED"
    if "ssl_ca" in given or "ssl_capath" in given:
        mode = "VERIFY_IDENTITY" if checks_host else "VERIFY_CA"
    if any(name.startswith("ssl_") for name in url.query):
        options.append(f"--loose-ssl-mode={mode}")
        if program.startswith("mariadb"):
            options.append("--ssl")
    verify = "" if mode == "VERIFY_IDENTITY" else "disable-"
    return [*options, f"--loose-{verify}ssl-verify-server-cert"]


def _run(
    target: Target,
    programs: tuple[str, ...],
    arguments: list[str],
    *,
    reads: Path | None = None,
    writes: Path | None = None,
) -> str:
    url = FLAVOUR.adapt(target.url)
    usual = programs[0]
    program = usual if target.container else next(filter(shutil.which, programs), usual)
    socket = url.query.get("unix_socket")
    reached = {
        "user": url.username,
        "host": None if socket else url.host,
        "port": url.port,
        "socket": socket,
    }
    options = [f"--{name}={value}" for name, value in reached.items() if value is not None]
    variables = {"MYSQL_PWD": url.password} if url.password else {}
    command = [
        program,
        "--no-defaults",
        *options,
        *_tls(url, program),
        "--default-character-set=utf8mb4",
        *arguments,
        str(url.database),
    ]
    return target.run(command, reads=reads, writes=writes, **variables)
