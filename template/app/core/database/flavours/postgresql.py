"""PostgreSQL by asyncpg."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import URL, Connection, Executable, Table, event, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.database.flavours.base import Flavour

if TYPE_CHECKING:
    from app.core.database.settings import ConnectionSettings

LOCK_POLL_SECONDS = 0.2

SILENCE_SECONDS = 5
"""How much longer than a statement may take the driver waits for any answer."""

LOCK_LIMIT = "SET lock_timeout = '5s'"
"""Waiting long for a table's lock would hold up every request that queues behind it."""

MIGRATION_LOCK = 7_463_229_091
"""Any number will do, as long as every migrator of this service uses the same."""


def _adapt(url: URL) -> URL:
    """Translate what libpq understands and asyncpg does not (managed databases hand it out)."""
    query = dict(url.query)
    query.pop("channel_binding", None)
    if sslmode := query.pop("sslmode", None):
        query["ssl"] = sslmode
    return url.set(query=query)


def _engine_options(settings: "ConnectionSettings") -> dict[str, Any]:
    connect: dict[str, Any] = {"timeout": settings.db_connect_timeout}
    if settings.db_statement_timeout:
        # The server ends a statement by itself; this is for a server that does not answer at all.
        connect["command_timeout"] = settings.db_statement_timeout + SILENCE_SECONDS
    if settings.db_use_null_pool:
        # Behind a transaction pooler each statement may meet another server process, and
        # start-up parameters are refused.
        connect["statement_cache_size"] = 0
        connect["prepared_statement_cache_size"] = 0
        connect["prepared_statement_name_func"] = lambda: f"__{uuid4().hex}__"
    else:
        limit = str(settings.db_statement_timeout * 1000)
        connect["server_settings"] = {
            "application_name": settings.project_name[:63],
            "statement_timeout": limit,
            "idle_in_transaction_session_timeout": "60000",
        }
    return {"connect_args": connect}


def _prepare(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "checkout")
    def replace_lost_connection(connection: Any, _record: Any, _proxy: Any) -> None:
        """Notice a server that went away without a round trip: asyncpg already knows."""
        if connection.driver_connection.is_closed():
            raise DisconnectionError


def _lost_conflict(error: DBAPIError) -> bool:
    return _state(error) in {"40001", "40P01"}  # serialization failure, deadlock


def _passing(error: DBAPIError) -> bool:
    # Cancelled by statement_timeout or lock_timeout; a standby that only reads.
    if _state(error) in {"57014", "55P03", "25006"}:
        return True
    return type(error.orig).__name__ == "InvalidCachedStatementError"


def _refused_login(error: Exception) -> bool:
    # Wrong password; no such account, or not in this way.
    return getattr(error, "sqlstate", None) in {"28P01", "28000"}


def _refused_value(error: DBAPIError) -> bool:
    return _state(error).startswith("22")  # data exception


def _state(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", ""))


def _upsert(table: Table, values: Mapping[str, Any], changes: Mapping[str, Any]) -> Executable:
    keys = [column.name for column in table.primary_key]
    return insert(table).values(**values).on_conflict_do_update(index_elements=keys, set_=changes)


def _migration_limits(statement: int) -> list[str]:
    return [LOCK_LIMIT, f"SET statement_timeout = '{statement}s'"]


@contextmanager
def _migration_lock(connection: Connection, wait: int, statement: int) -> Iterator[None]:
    key = {"key": MIGRATION_LOCK}
    end = monotonic() + wait
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), key):
        # Not one statement that waits: CREATE INDEX CONCURRENTLY would wait for it in turn.
        connection.commit()
        if monotonic() > end:
            raise TimeoutError(f"another migration still runs after {wait} s")
        sleep(LOCK_POLL_SECONDS)
    for limit in _migration_limits(statement):
        connection.execute(text(limit))
    connection.commit()
    try:
        yield
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
        connection.commit()


FLAVOUR = Flavour(
    name="postgresql",
    driver="postgresql+asyncpg",
    schemes=("postgresql", "postgres"),
    example="postgresql://user:password@host:5432/name",
    adapt=_adapt,
    engine_options=_engine_options,
    cursor_options={"isolation_level": "READ COMMITTED", "postgresql_readonly": True},
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
