"""The service owns its tables: one account migrates, reads and writes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

if TYPE_CHECKING:
    from app.core.database.handle import Addresses

READING: Mapping[str, Any] = {"isolation_level": "AUTOCOMMIT"}
"""How read sessions execute: each SELECT stands for itself, which saves round trips."""

SEES_ALL_ROWS: Mapping[str, str] = {}
"""Parameters with which a session of the migrating role sees the rows of all tenants."""


def before_migrations() -> list[str]:
    """Statements that a migrator begins with."""
    return []


def after_migrations(connection: Connection, addresses: "Addresses", *only_read: str) -> None:
    """Nothing is left to do when the tables are there."""


def development_addresses(variable: str, address: str) -> dict[str, str]:
    """The settings of a database that was made for development or tests."""
    return {variable: address}
