"""Settings of the database."""

from collections.abc import Iterator

from pydantic import Field, SecretStr, field_validator
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.core.database.flavours.flavour import FLAVOUR
from app.core.settings import AppSettings

_KNOWN_PASSWORDS = frozenset({"", "app", "admin", "changeme", "password", "postgres", "root"})


class DatabaseSettings(AppSettings):
    """Address, pool and time limits of the database."""

    database_url: SecretStr = Field(description=f"Address of the database: {FLAVOUR.example}")
    database_replica_url: SecretStr | None = Field(
        None, description="Address of a replica, for endpoints that only read"
    )
    migration_database_url: SecretStr | None = Field(
        None, description="Address for migrations, when it differs (no pooler, another role)"
    )
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

    @field_validator("database_url", "database_replica_url", "migration_database_url")
    @classmethod
    def _check_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _driver_url(value.get_secret_value())
        return value

    @property
    def async_database_url(self) -> URL:
        """`DATABASE_URL` with the asynchronous driver."""
        return _driver_url(self.database_url.get_secret_value())

    @property
    def async_replica_url(self) -> URL | None:
        """The address of the replica with the asynchronous driver, if there is one."""
        address = self.database_replica_url
        return _driver_url(address.get_secret_value()) if address else None

    @property
    def async_migration_url(self) -> URL:
        """The address that migrations use, with the asynchronous driver."""
        chosen = self.migration_database_url or self.database_url
        return _driver_url(chosen.get_secret_value())

    def insecure(self) -> Iterator[str]:
        """Name each value that production refuses, with the mend."""
        yield from super().insecure()
        url = self.async_database_url
        if url.host and url.password is not None and str(url.password) in _KNOWN_PASSWORDS:
            yield "DATABASE_URL must not carry a well-known password"


def _driver_url(address: str) -> URL:
    """Accept a plain address, such as `postgresql://…`, and give it the asynchronous driver.

    Raises:
        ValueError: it is no address, or one of another kind of database.
    """
    try:
        url = make_url(address)
    except ArgumentError:
        raise ValueError(f"is no database address such as {FLAVOUR.example}") from None
    scheme = url.drivername.partition("+")[0]
    if scheme not in FLAVOUR.schemes:
        raise ValueError(f"must start with {FLAVOUR.schemes[0]}://, not {scheme}://")
    return FLAVOUR.adapt(url.set(drivername=FLAVOUR.driver))
