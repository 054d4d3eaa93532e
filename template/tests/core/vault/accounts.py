"""Accounts of the database whose password really changes."""

import asyncio
import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copyfile
from time import monotonic, sleep
from typing import Protocol
from uuid import uuid4
from warnings import catch_warnings, simplefilter

from sqlalchemy import URL, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from app.core.database.flavours.flavour import FLAVOUR

PATIENCE = 10

# For servers that believe everybody on their own machine, as an embedded one does.
_ASK_FOR_PASSWORDS = """\
local all /^rotating_ scram-sha-256
host all /^rotating_ all scram-sha-256
"""


class Kind(Protocol):
    """What a flavour does about accounts."""

    def make(self, server: str, url: URL) -> URL:
        """Make an account, and give the database's address for it."""

    def renew(self, url: URL) -> URL:
        """Think of a new password, or of what comes closest to one."""

    def apply(self, server: str, url: URL) -> None:
        """Give the account the password that this address has."""

    def remove(self, server: str, url: URL) -> None:
        """Remove the account."""


@dataclass(frozen=True)
class Account:
    """Who may use a database, and by which password."""

    server: str
    address: URL

    @property
    def url(self) -> str:
        """The database's address with the account's password."""
        return self.address.render_as_string(hide_password=False)

    def with_new_password(self) -> "Account":
        """The same account with another password."""
        return replace(self, address=KIND.renew(self.address))

    def apply(self, new: "Account") -> None:
        """Give the account its new password, in the database itself."""
        KIND.apply(self.server, new.address)


@contextmanager
def account_of(server: str, database: str) -> Iterator[Account]:
    """Make an account that may use a database, for as long as the block lasts."""
    account = Account(server, KIND.make(server, make_url(database)))
    yield account
    KIND.remove(server, account.address)


class Server:
    """A database with accounts."""

    def __init__(self, create: Sequence[str], change: Sequence[str], drop: Sequence[str]) -> None:
        self._create, self._change, self._drop = create, change, drop

    def make(self, server: str, url: URL) -> URL:
        """Make an account, and see to it that its password is asked for."""
        made = self.renew(url.set(username=f"rotating_{uuid4().hex[:12]}"))
        _run(server, self._create, made)
        if FLAVOUR.name == "postgresql" and not _is_refused(self.renew(made)):
            _ask_for_passwords(server, made)
        end = monotonic() + PATIENCE
        while not _is_refused(self.renew(made)):
            assert monotonic() < end, "the server takes any password"
            sleep(0.02)
        return made

    def renew(self, url: URL) -> URL:
        """Think of a new password."""
        return url.set(password=uuid4().hex)

    def apply(self, server: str, url: URL) -> None:
        """Change the password."""
        _run(server, self._change, url)

    def remove(self, server: str, url: URL) -> None:
        """Remove the account."""
        _run(server, self._drop, url)


class File:
    """SQLite has no accounts: another copy of the file takes the place of another password."""

    def make(self, _server: str, url: URL) -> URL:
        """Give the file as it is."""
        return url

    def renew(self, url: URL) -> URL:
        """Copy the file."""
        file = Path(url.database or "")
        copy = file.with_stem(f"{file.stem}_{uuid4().hex[:6]}")
        copyfile(file, copy)
        return url.set(database=str(copy))

    def apply(self, server: str, url: URL) -> None:
        """Nothing: the copy is there."""

    def remove(self, server: str, url: URL) -> None:
        """Nothing: the directory is removed."""


def _run(server: str, statements: Sequence[str], url: URL) -> object:
    """Run statements as the administrator, and give the first value of the last one."""

    async def run() -> object:
        engine = create_async_engine(
            make_url(server).set(drivername=FLAVOUR.driver), isolation_level="AUTOCOMMIT"
        )
        result: object = None
        async with engine.connect() as connection:
            for statement in statements:
                written = statement.replace(":user", str(url.username))
                written = written.replace(":password", str(url.password))
                written = written.replace(":database", str(url.database))
                done = await connection.exec_driver_sql(written)
                result = done.scalar() if done.returns_rows else None
        await engine.dispose()
        return result

    return asyncio.run(run())


def _ask_for_passwords(server: str, url: URL) -> None:
    file = _run(server, ["SHOW hba_file"], url)
    rules = _run(server, [f"SELECT pg_read_file('{file}')"], url)
    lines = f"{_ASK_FOR_PASSWORDS}{rules}".replace("'", "''").splitlines()
    rows = ", ".join(f"('{line}')" for line in lines if line and not line.startswith("#"))
    _run(server, [f"COPY (VALUES {rows}) TO '{file}'", "SELECT pg_reload_conf()"], url)


def _is_refused(url: URL) -> bool:
    async def connect() -> None:
        address = FLAVOUR.adapt(url.set(drivername=FLAVOUR.driver))
        engine = create_async_engine(address, poolclass=NullPool)
        async with engine.connect():
            pass

    try:
        asyncio.run(connect())
    except Exception as error:
        if not FLAVOUR.refused_login(getattr(error, "orig", None) or error):
            raise
    else:
        return False
    forget_refused_connections()
    return True


def forget_refused_connections() -> None:
    """Collect the sockets that asyncmy leaves open when a login is refused."""
    with catch_warnings():
        simplefilter("ignore", ResourceWarning)
        gc.collect()


_EVERYWHERE = ("'%%'", "'localhost'")  # the driver halves the percent signs
KINDS: dict[str, Kind] = {
    "postgresql": Server(
        create=["CREATE ROLE :user LOGIN PASSWORD ':password'"],
        change=["ALTER ROLE :user PASSWORD ':password'"],
        drop=["DROP ROLE :user"],
    ),
    "mysql": Server(
        create=[
            statement
            for host in _EVERYWHERE
            for statement in (
                f"CREATE USER ':user'@{host} IDENTIFIED BY ':password'",
                f"GRANT SELECT ON `:database`.* TO ':user'@{host}",
            )
        ],
        change=[f"ALTER USER ':user'@{host} IDENTIFIED BY ':password'" for host in _EVERYWHERE],
        drop=[f"DROP USER ':user'@{host}" for host in _EVERYWHERE],
    ),
    "sqlite": File(),
}
KIND = KINDS[FLAVOUR.name]
