"""Encrypted columns of models that are SQLModel classes."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase
from sqlmodel import Field, col

from app.config import Settings
from app.core.database.base import TYPE_ANNOTATION_MAP
from app.core.database.styles.sqlmodel import ModelMixin
from app.core.encryption import EncryptedStr, EncryptedText
from tests.core.encryption.accounts import raw, running
from tests.core.first_database import database
from tests.core.plugin import Addresses


class LockerBase(DeclarativeBase):
    """Base of tables that only these tests use."""

    type_annotation_map = TYPE_ANNOTATION_MAP


class LockerModel(ModelMixin, registry=LockerBase.registry):
    """Base of SQLModel classes beside it."""


class Locker(LockerModel, table=True):
    """A table that is written as a SQLModel class."""

    __tablename__ = "lockers_of_the_tests"

    code: EncryptedStr = Field(sa_type=EncryptedText)
    spare: EncryptedStr | None = Field(default=None, sa_type=EncryptedText)


@pytest.fixture
async def session(empty_databases: Addresses, settings: Settings) -> AsyncIterator[AsyncSession]:
    tables = running(empty_databases, settings, LockerBase.metadata)
    async with tables, database.session_context() as session:
        yield session


def test_columns_are_those_of_the_other_style() -> None:
    columns = LockerBase.metadata.tables["lockers_of_the_tests"].columns
    assert [type(columns[name].type) for name in ("code", "spare")] == [EncryptedText] * 2
    assert (columns.code.nullable, columns.spare.nullable) == (False, True)


async def test_what_is_stored_is_read_again(session: AsyncSession) -> None:
    locker = Locker(code=EncryptedStr("1234"))
    session.add(locker)
    await session.flush()
    session.expunge_all()
    found = await session.get_one(Locker, locker.id)
    assert (found.code.reveal(), found.spare) == ("1234", None)
    found.spare = EncryptedStr("5678")
    await session.flush()
    session.expunge_all()
    again = (await session.scalars(select(Locker))).one()
    assert again.spare is not None
    assert again.spare.reveal() == "5678"
    assert "1234" not in f"{again!r} {again.model_dump_json()}"
    stored = (await session.execute(select(raw(col(Locker.code)), raw(col(Locker.spare))))).one()
    assert all(value.startswith("v0.") for value in stored)
