"""Settings that hold for every database of the service; the addresses are in the layout."""

import re
from collections.abc import Callable, Iterator
from typing import Annotated, Self
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, Field, SecretStr
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.core.database.flavours.flavour import FLAVOUR
from app.core.settings import AppSettings, variable

_KNOWN_PASSWORDS = frozenset(
    {"", "app", "admin", "changeme", "development", "password", "postgres", "root", "secret"}
)

_REFERENCE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")


class ConnectionSettings(AppSettings):
    """Pool and time limits; they hold for each database."""

    db_pool_size: int = Field(5, ge=1, description="Connections that each process keeps open")
    db_max_overflow: int = Field(10, ge=0, description="Further connections under load")
    db_pool_timeout: float = Field(
        5.0, gt=0, allow_inf_nan=False, description="Seconds to wait for a connection"
    )
    db_pool_recycle: int = Field(1800, ge=-1, description="Seconds after which one is replaced")
    db_use_null_pool: bool = Field(
        False, description="Keep no connection: for serverless and transaction poolers (PgBouncer)"
    )
    db_connect_timeout: float = Field(
        3.0, gt=0, allow_inf_nan=False, description="Seconds to wait for the server"
    )
    db_statement_timeout: int = Field(
        30, ge=0, description="Seconds that one statement may take (0 = no limit)"
    )
    db_migration_lock_timeout: int = Field(
        60, ge=1, description="Seconds that a migration waits for another one to finish"
    )
    db_migration_statement_timeout: int = Field(
        600, ge=1, description="Seconds that one statement of a migration may take"
    )
    idempotency_key_hours: int = Field(
        24, ge=1, description="How long the answer to an Idempotency-Key is kept"
    )

    def of_migrations(self) -> Self:
        """The same for those who change tables: they keep no connection, and have their own time.

        The driver's limit of a statement is the longest that one of theirs may take.
        """
        longest = max(self.db_migration_statement_timeout, self.db_migration_lock_timeout)
        own = {"db_use_null_pool": True, "db_statement_timeout": longest}
        return self.model_copy(update=own)


def plain_url(address: SecretStr, find: Callable[[str], str | None] = variable) -> URL:
    """Read an address, for programs that are no drivers.

    `${NAME}` in it stands for that variable, percent-encoded: some platforms hand out host and
    password each for itself.

    Args:
        address: such as `postgresql://…`.
        find: gives the value of a variable; that of the environment or `.env`.

    Raises:
        ValueError: it is no address, or names a variable that is not set.
    """

    def value(reference: re.Match[str]) -> str:
        found = find(reference[1])
        if not found:
            raise ValueError(f"names {reference[1]}, which is not set")
        return quote(found, safe="")

    text = _REFERENCE.sub(value, address.get_secret_value())
    try:
        return make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError(f"is no database address such as {FLAVOUR.example}") from None


def driver_url(address: SecretStr) -> URL:
    """Accept a plain address, such as `postgresql://…`, and give it the asynchronous driver.

    Raises:
        ValueError: it is no address, one of another kind of database, or names a variable that is
            not set.
    """
    url = plain_url(address)
    scheme = url.drivername.partition("+")[0]
    if scheme not in FLAVOUR.schemes:
        raise ValueError(f"must start with {FLAVOUR.schemes[0]}://")
    return FLAVOUR.adapt(url.set(drivername=FLAVOUR.driver))


def _checked(address: SecretStr) -> SecretStr:
    driver_url(address)
    return address


DatabaseUrl = Annotated[SecretStr, AfterValidator(_checked)]
"""The address of a database; never printed."""


def insecure_addresses(settings: BaseModel, *names: str) -> Iterator[str]:
    """Say which of the addresses production refuses."""
    for name in names:
        address = getattr(settings, name)
        if address is not None and _has_known_password(driver_url(address)):
            yield f"{name.upper()} must not carry a well-known password"


def _has_known_password(url: URL) -> bool:
    password = url.query.get("password", url.password)
    by_socket = str(url.query.get("host", "")).startswith("/") or "unix_socket" in url.query
    if password is None or by_socket:
        return False
    return str(password).lower() in _KNOWN_PASSWORDS or password == url.username
