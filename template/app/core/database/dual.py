"""The layout of a service with two databases: one for its users, one for everything else.

Each has its own tables, sessions, migrations and health. A foreign key cannot lead from one to the
other: store the id and let the service check it.

Sessions are one transaction from the start of an endpoint to just before its answer. Never call
`commit` yourself: the dependency commits when the endpoint returns, *before* the answer is sent, so
a client that reads a 2xx can rely on it. A new row has its id before it is stored. An endpoint that
writes to both commits one after the other, in the order in which it depends on them from last to
first: what must not be lost goes into one of them.
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
    "DatabaseSettings",
    "GeneralBase",
    "GeneralReadSessionDep",
    "GeneralSessionDep",
    "UserBase",
    "UserReadSessionDep",
    "UserSessionDep",
    "general_database",
    "get_general_read_session_context",
    "get_general_session_context",
    "get_user_read_session_context",
    "get_user_session_context",
    "in_general_transaction",
    "in_user_transaction",
    "user_database",
]


class DatabaseSettings(ConnectionSettings):
    """Where the databases are, and how to connect to them."""

    database_url_user: DatabaseUrl = Field(
        description=f"Address of the user database: {FLAVOUR.example}"
    )
    database_url_general: DatabaseUrl = Field(
        description=f"Address of the general database: {FLAVOUR.example}"
    )
    database_replica_url_user: DatabaseUrl | None = Field(
        None, description="Address of a replica of the user database"
    )
    database_replica_url_general: DatabaseUrl | None = Field(
        None, description="Address of a replica of the general database"
    )
    migration_database_url_user: DatabaseUrl | None = Field(
        None, description="Address for migrations of the user database, when it differs"
    )
    migration_database_url_general: DatabaseUrl | None = Field(
        None, description="Address for migrations of the general database, when it differs"
    )

    def insecure(self) -> Iterator[str]:
        """Name each value that production refuses, with the mend."""
        yield from super().insecure()
        kinds = ("database_url", "database_replica_url", "migration_database_url")
        names = (f"{kind}_{which}" for kind in kinds for which in ("user", "general"))
        yield from insecure_addresses(self, *names)


class UserBase(DeclarativeBase):
    """Declarative base of the user database; models derive from `UserModel`, see `styles`."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar = TYPE_ANNOTATION_MAP


class GeneralBase(DeclarativeBase):
    """Declarative base of the general database; models derive from `GeneralModel`, see `styles`."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar = TYPE_ANNOTATION_MAP


def _user_addresses(settings: DatabaseSettings) -> Addresses:
    return Addresses(
        main=settings.database_url_user,
        replica=settings.database_replica_url_user,
        migration=settings.migration_database_url_user,
    )


def _general_addresses(settings: DatabaseSettings) -> Addresses:
    return Addresses(
        main=settings.database_url_general,
        replica=settings.database_replica_url_general,
        migration=settings.migration_database_url_general,
    )


user_database = Database(
    name="user_database",
    section="user",
    base=UserBase,
    variable="database_url_user",
    replica_variable="database_replica_url_user",
    addresses=_user_addresses,
)
general_database = Database(
    name="general_database",
    section="general",
    base=GeneralBase,
    variable="database_url_general",
    replica_variable="database_replica_url_general",
    addresses=_general_addresses,
)
DATABASES = (user_database, general_database)

get_user_session_context = user_database.session_context
get_general_session_context = general_database.session_context
get_user_read_session_context = user_database.read_session_context
get_general_read_session_context = general_database.read_session_context
in_user_transaction = user_database.in_transaction
in_general_transaction = general_database.in_transaction

# "function": ends before the answer is sent. FastAPI's default ends after it.
UserSessionDep = Annotated[AsyncSession, Depends(user_database.get_session, scope="function")]
GeneralSessionDep = Annotated[AsyncSession, Depends(general_database.get_session, scope="function")]
UserReadSessionDep = Annotated[
    ReadSession, Depends(user_database.get_read_session, scope="function")
]
GeneralReadSessionDep = Annotated[
    ReadSession, Depends(general_database.get_read_session, scope="function")
]
