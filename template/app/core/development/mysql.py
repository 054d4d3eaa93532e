"""MariaDB from the machine's own package (Debian: mariadb-server), as a private server."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path

from sqlalchemy import URL, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

START_SECONDS = 30
HOW_TO = (
    "No MariaDB server found: install one (Debian: mariadb-server), or give the address of a"
    " running one, for example that of `docker compose up --wait database`"
)

MOST_LINES = 10
"""How many errors of the server's log are shown when it does not start."""

HASTY = ("--innodb-flush-log-at-trx-commit=0", "--sync-frm=0")
"""Options of a server that does not wait for the disk."""


@contextmanager
def local_server(directory: Path, *, durable: bool = True) -> Iterator[str]:
    """Run a server whose data lives in `directory`, on a Unix socket only.

    Args:
        directory: is made if need be.
        durable: whether it waits for the disk, so that data outlives a crash of the machine.

    Yields:
        The address of its maintenance database.

    Raises:
        SystemExit: the machine has no MariaDB server, or it does not start; with what it says.
    """
    program = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise SystemExit(HOW_TO)
    data = (directory / "mariadb").resolve()
    data.parent.mkdir(parents=True, exist_ok=True)
    # A socket's path is limited to some hundred characters, so it cannot stand with the data.
    with (
        tempfile.TemporaryDirectory(prefix="mariadb-") as short,
        data.with_name("mariadb.log").open("wb") as log,
    ):
        # Not the one of all: a server that starts removes the temporary tables of the others there.
        arguments = [f"--tmpdir={short}", *_as_user()]
        if not (data / "mysql").is_dir():
            _install(data, log, arguments)
        socket = Path(short) / "socket"
        arguments += [f"--datadir={data}", f"--socket={socket}", f"--pid-file={short}/pid"]
        if not durable:
            arguments += HASTY
        process = subprocess.Popen(  # noqa: S603
            [program, "--no-defaults", "--skip-networking", *arguments],
            stdout=log,
            stderr=log,
            # Ctrl-C is for the service; the server is stopped when its last user is done.
            start_new_session=True,
        )
        try:
            if not _answers(socket, process):
                raise SystemExit(_why("start", log))
            yield f"mysql://root@localhost/mysql?unix_socket={socket}"
        finally:
            process.terminate()
            process.wait()


def _install(data: Path, log: BufferedWriter, arguments: Sequence[str]) -> None:
    # Whole or not at all: what an interrupt leaves behind would never start.
    unfinished = data.with_name("mariadb.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    done = subprocess.run(  # noqa: S603
        [
            shutil.which("mariadb-install-db") or "mariadb-install-db",
            "--no-defaults",
            f"--datadir={unfinished}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            *arguments,
        ],
        check=False,
        stdout=log,
        stderr=log,
    )
    if done.returncode:
        raise SystemExit(_why("install its tables", log))
    unfinished.rename(data)


def _why(what: str, log: BufferedWriter) -> str:
    lines = Path(log.name).read_text("utf-8", "replace").splitlines()
    errors = [line for line in lines if "ERROR" in line][-MOST_LINES:]
    said = f"The MariaDB server did not {what} (all it said is in {log.name}):"
    return "\n".join([said, *errors])


def _as_user() -> list[str]:
    return ["--user=root"] if os.geteuid() == 0 else []


def _answers(socket: Path, process: "subprocess.Popen[bytes]") -> bool:
    ping = ["mariadb-admin", "--no-defaults", f"--socket={socket}", "--user=root", "ping"]
    for _ in range(START_SECONDS):
        if process.poll() is not None:
            return False
        ready = subprocess.run(  # noqa: S603
            [*ping, "--wait=1", "--connect-timeout=1"],
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if ready.returncode == 0:
            return True
    return False


async def create_database(server: str, name: str) -> str:
    """Make a database if there is none of this name, and give its address."""
    await _execute(server, f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4")
    return make_url(server).set(database=name).render_as_string(hide_password=False)


async def drop_database(server: str, name: str) -> None:
    """Remove a database."""
    await _execute(server, f"DROP DATABASE IF EXISTS `{name}`")


async def empty_database(server: str, name: str) -> None:
    """Make a database as good as new."""
    await drop_database(server, name)
    await create_database(server, name)


async def _execute(server: str, statement: str) -> None:
    engine = create_async_engine(_url(server))
    async with engine.connect() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


def _url(server: str) -> URL:
    return make_url(server).set(drivername="mysql+asyncmy")
