"""A model with encrypted columns, and what is really stored in its table."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import MetaData, String, Text, delete, select, type_coerce, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.config import Settings
from app.core.application import create_app
from app.core.database.base import TYPE_ANNOTATION_MAP, ModelMixin, VersionMixin
from app.core.database.tables import make_tables
from app.core.encryption import EncryptedStr, EncryptedText
from tests.core.first_database import database
from tests.core.plugin import Addresses, with_changes


class AccountBase(DeclarativeBase):
    """Base of tables that only these tests use."""

    type_annotation_map = TYPE_ANNOTATION_MAP


class Account(VersionMixin, ModelMixin, AccountBase):
    """An account elsewhere, and how to get in."""

    __tablename__ = "accounts_of_the_tests"

    name: Mapped[str] = mapped_column(String(50))
    api_key: Mapped[EncryptedStr] = mapped_column(EncryptedText())
    api_secret: Mapped[EncryptedStr | None] = mapped_column(EncryptedText())


class Counter(AccountBase):
    """A row whose key only the database knows."""

    __tablename__ = "counters_of_the_tests"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[EncryptedStr] = mapped_column(EncryptedText())


METADATA: MetaData = AccountBase.metadata


@asynccontextmanager
async def running(
    addresses: Addresses, settings: Settings, metadata: MetaData = METADATA
) -> AsyncIterator[None]:
    """An application that really commits, with these tables."""
    app = create_app(with_changes(settings, **addresses))
    async with app.router.lifespan_context(app):
        await make_tables(database, metadata)
        yield


def raw(column: Any) -> Any:
    """A column as what is stored in it."""
    return type_coerce(column, Text())


async def forget_all(metadata: MetaData = METADATA) -> None:
    """Empty the tables."""
    async with database.engine.begin() as connection:
        for table in metadata.sorted_tables:
            await connection.execute(delete(table))


async def stored(model: Any = Account) -> Sequence[tuple[Any, ...]]:
    """What the table has: name, and the encrypted values as they are."""
    statement = select(model.name, raw(model.api_key), raw(model.api_secret)).order_by(model.name)
    async with database.read_session_context() as session:
        return [tuple(row) for row in await session.execute(statement)]


async def overwrite(name: str, **values: str) -> None:
    """Change what is stored, past all models."""
    table = METADATA.tables["accounts_of_the_tests"]
    plain = {each: type_coerce(value, Text()) for each, value in values.items()}
    async with database.session_context() as session:
        await session.execute(update(table).where(table.c.name == name).values(**plain))


async def add(name: str, key: str = "key", secret: str | None = None) -> None:
    """Store an account."""
    async with database.session_context() as session:
        hidden = None if secret is None else EncryptedStr(secret)
        session.add(Account(name=name, api_key=EncryptedStr(key), api_secret=hidden))


async def find(name: str) -> Account:
    """Read an account."""
    async with database.read_session_context() as session:
        return (await session.scalars(select(Account).where(Account.name == name))).one()
