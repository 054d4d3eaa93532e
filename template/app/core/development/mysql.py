"""MariaDB from the machine's own package (Debian: mariadb-server), as a private server."""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BufferedWriter
from pathlib import Path
from typing import TextIO

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
    """Run a server whose data lives in `directory`, on a Unix socket; stop it with its last user.

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
    users, lock, note = (data.with_name(f"mariadb.{name}") for name in ("users", "lock", "socket"))
    started = None
    with users.open("a") as user, lock.open("a") as change:
        with _alone(change):
            # All users share this lock; it ends with their processes, however those end.
            fcntl.flock(user, fcntl.LOCK_SH)
            if not _answers(note):
                started = _start(program, data, note, durable=durable)
            socket, life = Path(note.read_text()), note.open()
        try:
            yield f"mysql://root@localhost/mysql?unix_socket={socket}"
        finally:
            with _alone(change), life:
                if _is_free(user):
                    _stop(socket, life)
                    if started is not None:
                        started.wait()


@contextmanager
def _alone(lock: TextIO) -> Iterator[None]:
    """Wait until nobody else starts or stops the server."""
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)


def _is_free(file: TextIO) -> bool:
    """Lock a file, unless somebody else has; say which."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start(program: str, data: Path, note: Path, *, durable: bool) -> "subprocess.Popen[bytes]":
    # A socket's path is limited to some hundred characters, so it cannot stand with the data.
    short = tempfile.mkdtemp(prefix="mariadb-")
    with ExitStack() as failed, data.with_name("mariadb.log").open("wb") as log:
        failed.callback(shutil.rmtree, short)
        # Not the one of all: a server that starts removes the temporary tables of the others there.
        arguments = [f"--tmpdir={short}", *_as_user()]
        if not (data / "mysql").is_dir():
            _install(data, log, arguments)
        arguments += [f"--datadir={data}", f"--socket={short}/socket", f"--pid-file={short}/pid"]
        if not durable:
            arguments += HASTY
        note.unlink(missing_ok=True)
        note.write_text(f"{short}/socket")
        with note.open() as life:
            fcntl.flock(life, fcntl.LOCK_EX)
            process = subprocess.Popen(  # noqa: S603
                [program, "--no-defaults", "--skip-networking", *arguments],
                stdout=log,
                stderr=log,
                # It inherits the lock, which tells everybody that it lives.
                pass_fds=[life.fileno()],
                # Ctrl-C is for the service; the server is stopped when its last user is done.
                start_new_session=True,
            )
        failed.callback(process.wait)
        failed.callback(process.terminate)
        if not _answers(note):
            raise SystemExit(_why("start", log))
        failed.pop_all()
    return process


def _stop(socket: Path, life: TextIO) -> None:
    if not _is_free(life):
        os.kill(int(socket.with_name("pid").read_text()), signal.SIGTERM)
        fcntl.flock(life, fcntl.LOCK_EX)
    shutil.rmtree(socket.parent, ignore_errors=True)


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


def _answers(note: Path) -> bool:
    """Whether a server lives whose socket is noted there, and answers."""
    for _ in range(START_SECONDS):
        with note.open("a") as life:
            if _is_free(life):
                return False
        ping = ["mariadb-admin", "--no-defaults", f"--socket={note.read_text()}", "--user=root"]
        ready = subprocess.run(  # noqa: S603
            [*ping, "--wait=1", "--connect-timeout=1", "ping"],
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
