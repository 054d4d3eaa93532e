"""The layout of a service with one database.

Sessions are one transaction from the start of an endpoint to just before its answer. Never call
`commit` yourself: the dependency commits when the endpoint returns, *before* the answer is sent, so
a client that reads a 2xx can rely on it. A new row has its id before it is stored.
"""

from collections.abc import Iterator
from typing import Annotated, ClassVar

from fastapi import Depends
from pydantic import Field
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase

from app.core.database.base import NAMING_CONVENTION, TYPE_ANNOTATION_MAP
from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.handle import Addresses, Database, ReadSession
from app.core.database.settings import ConnectionSettings, DatabaseUrl, insecure_addresses

__all__ = [
    "DATABASES",
    "Base",
    "DatabaseSettings",
    "ReadSessionDep",
    "SessionDep",
    "database",
    "get_read_session",
    "get_read_session_context",
    "get_session",
    "get_session_context",
    "in_transaction",
]


class DatabaseSettings(ConnectionSettings):
    """Where the database is, and how to connect to it."""

    database_url: DatabaseUrl = Field(description=f"Address of the database: {FLAVOUR.example}")
    database_replica_url: DatabaseUrl | None = Field(
        None, description="Address of a replica, for endpoints that only read"
    )
    migration_database_url: DatabaseUrl | None = Field(
        None, description="Address for migrations, when it differs (no pooler, another role)"
    )

    def insecure(self) -> Iterator[str]:
        """Name each value that production refuses, with the mend."""
        yield from super().insecure()
        names = ("database_url", "database_replica_url", "migration_database_url")
        yield from insecure_addresses(self, *names)


class Base(DeclarativeBase):
    """Declarative base of all tables; models derive from `Model`, see `styles`."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar = TYPE_ANNOTATION_MAP


def _addresses(settings: DatabaseSettings) -> Addresses:
    return Addresses(
        main=settings.database_url,
        replica=settings.database_replica_url,
        migration=settings.migration_database_url,
    )


database = Database(
    name="database",
    section="alembic",
    base=Base,
    variable="database_url",
    replica_variable="database_replica_url",
    addresses=_addresses,
)
DATABASES = (database,)

get_session_context = database.session_context
get_read_session_context = database.read_session_context
get_session = database.get_session
get_read_session = database.get_read_session
in_transaction = database.in_transaction

# "function": ends before the answer is sent. FastAPI's default ends after it.
SessionDep = Annotated[AsyncSession, Depends(get_session, scope="function")]
ReadSessionDep = Annotated[ReadSession, Depends(get_read_session, scope="function")]
