"""SQLite by aiosqlite."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Executable, Table, event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.database.flavours.base import Flavour

if TYPE_CHECKING:
    from app.core.database.settings import ConnectionSettings

BUSY_SECONDS = 5


def _adapt(url: URL) -> URL:
    return url


def _engine_options(settings: "ConnectionSettings") -> dict[str, Any]:
    return {"connect_args": {"timeout": BUSY_SECONDS}}


def _prepare(engine: AsyncEngine) -> None:
    """Take over transactions from Python's sqlite3, which begins them too late for savepoints.

    See https://docs.sqlalchemy.org/en/21/dialects/sqlite.html (serializable isolation).
    """

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            # A transaction that turns from reading to writing cannot wait for its turn.
            connection.exec_driver_sql("BEGIN IMMEDIATE")


def _lost_conflict(error: DBAPIError) -> bool:
    return "database is locked" in str(error.orig)


def _passing(error: DBAPIError) -> bool:
    """SQLite has no limit for statements; waiting for the lock counts as a conflict."""
    return False


def _refused_login(error: Exception) -> bool:
    """SQLite knows no accounts."""
    return False


def _refused_value(error: DBAPIError) -> bool:
    """SQLite stores anything."""
    return False


def _upsert(table: Table, values: Mapping[str, Any], changes: Mapping[str, Any]) -> Executable:
    keys = [column.name for column in table.primary_key]
    return insert(table).values(**values).on_conflict_do_update(index_elements=keys, set_=changes)


def _migration_limits(statement: int) -> list[str]:
    """SQLite has no limits for statements."""
    return []


@contextmanager
def _migration_lock(connection: Connection, wait: int, statement: int) -> Iterator[None]:
    """The transaction itself is the lock: SQLite has one writer, and its DDL is transactional."""
    # By the driver's cursor: SQLAlchemy's would begin a transaction, and wait for it.
    connection.connection.cursor().execute(f"PRAGMA busy_timeout = {wait * 1000}")
    try:
        yield
    except OperationalError as error:
        if "locked" in str(error):
            raise TimeoutError(f"another migration still runs after {wait} s") from error
        raise


FLAVOUR = Flavour(
    name="sqlite",
    driver="sqlite+aiosqlite",
    schemes=("sqlite",),
    example="sqlite:///./service.db",
    adapt=_adapt,
    engine_options=_engine_options,
    cursor_options={},
    prepare=_prepare,
    lost_conflict=_lost_conflict,
    passing=_passing,
    refused_login=_refused_login,
    broken_rule=lambda _: False,
    refused_value=_refused_value,
    upsert=_upsert,
    migration_limits=_migration_limits,
    migration_lock=_migration_lock,
)
