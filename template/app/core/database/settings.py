"""Settings that hold for every database of the service; the addresses are in the layout."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.core.database.flavours.flavour import FLAVOUR
from app.core.settings import AppSettings

_KNOWN_PASSWORDS = frozenset({"", "app", "admin", "changeme", "password", "postgres", "root"})


class ConnectionSettings(AppSettings):
    """Pool and time limits; they hold for each database."""

    db_pool_size: int = Field(5, ge=1, description="Connections that each process keeps open")
    db_max_overflow: int = Field(10, ge=0, description="Further connections under load")
    db_pool_timeout: float = Field(5.0, gt=0, description="Seconds to wait for a connection")
    db_pool_recycle: int = Field(1800, ge=-1, description="Seconds after which one is replaced")
    db_use_null_pool: bool = Field(
        False, description="Keep no connection: for serverless and transaction poolers (PgBouncer)"
    )
    db_connect_timeout: float = Field(3.0, gt=0, description="Seconds to wait for the server")
    db_statement_timeout: float = Field(
        30.0, ge=0, description="Seconds that one statement may take (0 = no limit)"
    )
    db_migration_lock_timeout: int = Field(
        60, ge=1, description="Seconds that a migration waits for another one to finish"
    )
    db_migration_statement_timeout: int = Field(
        600, ge=1, description="Seconds that one statement of a migration may take"
    )


def driver_url(address: SecretStr) -> URL:
    """Accept a plain address, such as `postgresql://…`, and give it the asynchronous driver.

    Raises:
        ValueError: it is no address, or one of another kind of database.
    """
    try:
        url = make_url(address.get_secret_value())
    except ArgumentError:
        raise ValueError(f"is no database address such as {FLAVOUR.example}") from None
    scheme = url.drivername.partition("+")[0]
    if scheme not in FLAVOUR.schemes:
        raise ValueError(f"must start with {FLAVOUR.schemes[0]}://, not {scheme}://")
    return FLAVOUR.adapt(url.set(drivername=FLAVOUR.driver))


def _checked(address: SecretStr) -> SecretStr:
    driver_url(address)
    return address


DatabaseUrl = Annotated[SecretStr, AfterValidator(_checked)]
"""The address of a database; never printed."""


def insecure_address(name: str, address: SecretStr) -> Iterator[str]:
    """Say why production refuses an address, if it does."""
    url = driver_url(address)
    if url.host and url.password is not None and str(url.password) in _KNOWN_PASSWORDS:
        yield f"{name} must not carry a well-known password"
