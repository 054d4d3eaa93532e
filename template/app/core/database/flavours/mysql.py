"""MySQL and MariaDB by asyncmy."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Executable, Table, text
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.database.flavours.base import Flavour

if TYPE_CHECKING:
    from app.core.database.settings import ConnectionSettings

Query = dict[str, str | tuple[str, ...]]

_DEADLOCK, _NO_SAVEPOINT = 1213, 1305

SILENCE_SECONDS = 5
"""How much longer than a statement may take the driver waits for any answer."""


_UNDERSTOOD = {
    *("user", "password", "host", "database", "unix_socket", "program_name", "client_flag"),
    *("charset", "use_unicode", "sql_mode", "init_command", "local_infile"),
    *("connect_timeout", "read_timeout", "read_default_file", "read_default_group"),
    *("ssl_ca", "ssl_capath", "ssl_cert", "ssl_key", "ssl_cipher", "ssl_check_hostname"),
}
"""What SQLAlchemy and asyncmy know of an address, as text."""

_MODE = ("ssl", "sslmode", "ssl_mode")
"""By which keys programs of MySQL are told whether there is TLS."""

_MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
_SAME = {
    "FALSE": "DISABLED",
    "TRUE": "REQUIRED",
    # The driver cannot go on without TLS where the server has none.
    "PREFERRED": "REQUIRED",
}


def _adapt(url: URL) -> URL:
    """Translate what programs of MySQL understand and the driver does not.

    Managed databases hand it out.

    Raises:
        ValueError: its query has what is not known.
    """
    query = {name.replace("-", "_"): value for name, value in url.query.items()}
    for name in url.query:
        if name.replace("-", "_") not in _UNDERSTOOD.union(_MODE):
            known = ", ".join(sorted({"ssl_mode", *_UNDERSTOOD}))
            raise ValueError(f"has {name} in its query, where only these are known: {known}")
    modes = [str(query.pop(name)).upper() for name in _MODE if name in query]
    if modes:
        query = _with_tls(query, _SAME.get(modes[-1], modes[-1]))
    return url.set(query={**query, "charset": "utf8mb4"})


def _with_tls(query: Query, mode: str) -> Query:
    """Say by the driver's keys what a mode says."""
    if mode not in _MODES:
        raise ValueError(f"must have one of {', '.join(_MODES)} as ssl-mode")
    if mode == "DISABLED":
        return {name: value for name, value in query.items() if not name.startswith("ssl_")}
    verified = "ssl_ca" in query or "ssl_capath" in query
    if mode == "REQUIRED":
        # Any of these keys asks for TLS; without authorities nothing is verified.
        return query if verified else {**query, "ssl_check_hostname": "false"}
    if not verified:
        raise ValueError(f"needs ssl_ca, a file of authorities, for ssl-mode={mode}")
    return {**query, "ssl_check_hostname": "true" if mode == "VERIFY_IDENTITY" else "false"}


def _engine_options(settings: "ConnectionSettings") -> dict[str, Any]:
    # Strict: a value that does not fit is an error, not a warning and a shorter value.
    # The first comment is run by MariaDB only: MySQL has no limit that covers every statement.
    limit = f"/*M! max_statement_time = {settings.db_statement_timeout}, */"
    mode = "sql_mode = 'TRADITIONAL,ONLY_FULL_GROUP_BY', sql_notes = 0"
    start = f"SET {limit} time_zone = '+00:00', {mode}"
    connect: dict[str, Any] = {
        "connect_timeout": settings.db_connect_timeout,
        "init_command": start,
    }
    if settings.db_statement_timeout:
        # MariaDB ends a statement by itself; this is for a server that does not answer at all.
        connect["read_timeout"] = settings.db_statement_timeout + SILENCE_SECONDS
    return {
        "connect_args": connect,
        "isolation_level": "READ COMMITTED",
        "pool_pre_ping": not settings.db_use_null_pool,
    }


def _prepare(engine: AsyncEngine) -> None:
    """Nothing to attach."""


def _lost_conflict(error: DBAPIError) -> bool:
    number = _number(error)
    # A deadlock rolls all back, so the way back to a savepoint fails, and hides the deadlock.
    return number == _DEADLOCK or (number == _NO_SAVEPOINT and _hides(error, _DEADLOCK))


def _hides(error: DBAPIError, number: int) -> bool:
    """Whether an error was raised while one with this number was handled."""
    before = error.__context__
    while before is not None:
        if isinstance(before, DBAPIError) and _number(before) == number:
            return True
        before = before.__context__
    return False


def _passing(error: DBAPIError) -> bool:
    # Lock wait, MariaDB's and MySQL's limit of a statement, a replica that only reads.
    return _number(error) in {1205, 1969, 3024, 1290, 1836}


def _refused_login(error: Exception) -> bool:
    return error.args[:1] in {(1045,), (1698,)}  # access denied


def _broken_rule(error: DBAPIError) -> bool:
    return _number(error) in {3819, 4025}  # CHECK, as MySQL and as MariaDB say it


def _refused_value(error: DBAPIError) -> bool:
    return _number(error) in {1264, 1366, 1406}  # out of range, wrong string, too long


def _number(error: DBAPIError) -> int:
    # Only what the server says begins with a number: the driver has errors of its own.
    first = error.orig.args[0] if error.orig and error.orig.args else None
    return first if isinstance(first, int) else 0


def _upsert(table: Table, values: Mapping[str, Any], changes: Mapping[str, Any]) -> Executable:
    return insert(table).values(**values).on_duplicate_key_update(**changes)


def _migration_limits(statement: int) -> list[str]:
    # The comment is run by MariaDB only, see above.
    return [f"SET /*M! max_statement_time = {statement}, */ lock_wait_timeout = 5"]


@contextmanager
def _migration_lock(connection: Connection, wait: int, statement: int) -> Iterator[None]:
    name = {"name": f"{connection.engine.url.database}.migrations"[:64]}
    got = connection.scalar(text("SELECT GET_LOCK(:name, :wait)"), {**name, "wait": wait})
    if got != 1:
        raise TimeoutError(f"another migration still runs after {wait} s")
    for limit in _migration_limits(statement):
        connection.execute(text(limit))
    connection.commit()
    try:
        yield
    finally:
        connection.rollback()
        connection.execute(text("SELECT RELEASE_LOCK(:name)"), name)
        connection.commit()


FLAVOUR = Flavour(
    name="mysql",
    driver="mysql+asyncmy",
    schemes=("mysql", "mariadb"),
    example="mysql://user:password@host:3306/name",
    adapt=_adapt,
    engine_options=_engine_options,
    cursor_options={},
    prepare=_prepare,
    lost_conflict=_lost_conflict,
    passing=_passing,
    refused_login=_refused_login,
    broken_rule=_broken_rule,
    refused_value=_refused_value,
    upsert=_upsert,
    migration_limits=_migration_limits,
    migration_lock=_migration_lock,
)
