"""Models that are SQLModel classes, beside SQLAlchemy's own, through the same repositories."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from sqlalchemy import CheckConstraint, Integer, String, Text, Uuid, text
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.orm.exc import StaleDataError
from sqlmodel import Field, Relationship, SQLModel, col, select

from app.config import Settings
from app.core.application import create_app
from app.core.database import Repository, UtcDateTime
from app.core.database.layout import DATABASES
from app.core.database.pagination import CursorPage, PageRequest
from app.core.database.preconditions import etag
from app.core.database.styles.sqlmodel import ModelMixin, SoftDeleteMixin, VersionMixin
from app.core.database.tables import make_tables
from app.core.discovery import import_submodules
from app.core.errors import NotFoundError
from tests.core.bodies import tables_in_bodies
from tests.core.first_database import ExtraBase, ExtraModel, database
from tests.core.plugin import Addresses, with_changes

MOMENT = datetime(2026, 11, 21, 12, 30, 15, 123456, tzinfo=UTC)


class Owner(ExtraModel):
    """A table that is written as the foundation's are."""

    __tablename__ = "owners_of_the_tests"

    name: Mapped[str] = mapped_column(String(50))


class SqlExtraModel(ModelMixin, registry=ExtraBase.registry):
    """Base of SQLModel classes beside it."""


class Pet(SoftDeleteMixin, VersionMixin, SqlExtraModel, table=True):
    """A table that is written as a SQLModel class."""

    __tablename__ = "pets_of_the_tests"
    __table_args__ = (CheckConstraint("name <> ''", name="name_not_empty"),)

    owner_id: uuid.UUID = Field(foreign_key="owners_of_the_tests.id", ondelete="CASCADE")
    name: str = Field(max_length=50)
    note: str | None = Field(default=None, sa_type=Text)
    seen_at: datetime | None = None
    weight: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})

    owner: Owner = Relationship(sa_relationship_kwargs={"lazy": "raise"})


class Toy(SqlExtraModel, table=True):
    """A table that takes its name from the class."""


class ToyRead(Toy):
    """Derived from a table, so it shows all of its columns too."""


class OwnerRepository(Repository[Owner]):
    model = Owner


class PetRepository(Repository[Pet]):
    model = Pet
    sortable = ("name", "seen_at")
    filterable = ("name",)


@pytest.fixture
async def session(empty_databases: Addresses, settings: Settings) -> AsyncIterator[AsyncSession]:
    app = create_app(with_changes(settings, **empty_databases))
    async with app.router.lifespan_context(app):
        await make_tables(database, ExtraBase.metadata)
        async with database.session_context() as session:
            yield session


@pytest.fixture
async def owner(session: AsyncSession) -> Owner:
    return await OwnerRepository(session).add(Owner(name="Ada"))


def test_columns_are_those_of_the_other_style() -> None:
    columns = ExtraBase.metadata.tables["pets_of_the_tests"].columns
    own = ["owner_id", "name", "note", "seen_at", "weight"]
    common = ["created_at", "updated_at", "deleted_at", "version"]
    assert columns.keys() == ["id", *own, *common]
    kinds = [Uuid, Uuid, String, Text, UtcDateTime, Integer, *[UtcDateTime] * 3, Integer]
    assert [type(column.type) for column in columns] == kinds
    empty = [column.name for column in columns if column.nullable]
    assert empty == ["note", "seen_at", "deleted_at"]


def test_no_table_is_out_of_sight_of_the_migrations() -> None:
    import_submodules("app.models")
    stray = list(SQLModel.metadata.tables)
    assert not stray, f"{stray} derive from SQLModel itself: derive them from the service's bases"
    for each in DATABASES:
        assert each.metadata is not SQLModel.metadata


async def test_what_is_stored_is_read_again(session: AsyncSession, owner: Owner) -> None:
    pets = PetRepository(session)
    seen_at = MOMENT.astimezone(timezone(timedelta(hours=2)))
    stored = await pets.add(Pet(owner_id=owner.id, name="Tom", seen_at=seen_at))
    kept = stored.model_dump()
    session.expunge_all()

    pet = await pets.get(stored.id)
    assert pet is not stored
    assert pet.model_dump() == kept
    assert (pet.seen_at, pet.weight, pet.version, etag(pet)) == (MOMENT, 0, 1, '"1"')
    assert pet.seen_at is not None
    assert pet.seen_at.tzinfo is UTC
    assert pet.id.version == 7


async def test_both_kinds_are_joined(session: AsyncSession, owner: Owner) -> None:
    await PetRepository(session).add(Pet(owner_id=owner.id, name="Tom"))
    joined = select(Pet).join(Owner, Owner.id == col(Pet.owner_id)).where(Owner.name == "Ada")
    assert [pet.name for pet in await session.scalars(joined)] == ["Tom"]
    related = select(Pet).join(Owner).where(Pet.owner == owner)
    assert [pet.name for pet in await session.scalars(related)] == ["Tom"]


async def test_marked_rows_are_left_out(session: AsyncSession, owner: Owner) -> None:
    pets = PetRepository(session)
    pet = await pets.add(Pet(owner_id=owner.id, name="Tom"))
    await pets.delete(pet)
    assert await pets.count() == 0
    with pytest.raises(NotFoundError, match="no pet"):
        await pets.get(pet.id)
    await pets.restore(await pets.get(pet.id, with_deleted=True))
    assert await pets.exists(col(Pet.name) == "Tom")


async def test_lists_are_sorted_and_filtered(session: AsyncSession, owner: Owner) -> None:
    pets = PetRepository(session)
    await pets.add_all(
        Pet(owner_id=owner.id, name=name, seen_at=MOMENT + timedelta(days=day))
        for day, name in enumerate("cab")
    )
    first = await pets.page(PageRequest(2, None, "-seen_at", b"secret"))
    rest = await pets.page(PageRequest(2, first.next_cursor, "-seen_at", b"secret"))
    assert [pet.name for pet in (*first.items, *rest.items)] == ["b", "a", "c"]
    only = await pets.page(PageRequest(2, None, None, b"secret"), filters={"name": "a"})
    assert [pet.name for pet in only.items] == ["a"]


async def test_the_second_of_two_writers_changes_nothing(
    session: AsyncSession, owner: Owner
) -> None:
    pets = PetRepository(session)
    pet = await pets.add(Pet(owner_id=owner.id, name="Tom"))
    before = pet.updated_at
    await pets.update(pet, {"weight": 4})
    assert (pet.version, pet.updated_at > before) == (2, True)
    await session.execute(text("UPDATE pets_of_the_tests SET version = 7"))
    with pytest.raises(StaleDataError):
        await pets.update(pet, {"weight": 5})
    await session.rollback()


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"name": ""}, DBAPIError),  # MariaDB's driver names the kind of error otherwise
        ({"name": "x", "owner_id": uuid.UUID(int=0)}, IntegrityError),
        ({"owner_id": None}, IntegrityError),
        ({"name": "x", "seen_at": MOMENT.replace(tzinfo=None)}, StatementError),
        ({"name": "x", "seen_at": "tomorrow"}, StatementError),
    ],
)
async def test_what_no_schema_has_seen_is_refused_by_the_database(
    session: AsyncSession, owner: Owner, bad: dict[str, Any], error: type[Exception]
) -> None:
    """A class with `table=True` takes anything."""
    pet = Pet(**({"owner_id": owner.id} | bad))
    with pytest.raises(error):
        await PetRepository(session).add(pet)
    await session.rollback()


class PetPage(BaseModel):
    pets: dict[str, list[Pet]]


def test_a_table_as_a_body_is_seen() -> None:
    async def change(_: Pet) -> None:
        pass

    router = APIRouter()
    router.add_api_route("/in", change, methods=["POST"])
    for path, model in {"a": Pet, "b": list[Pet], "c": CursorPage[Pet], "d": PetPage}.items():
        router.add_api_route(f"/{path}", lambda: None, response_model=model)
    router.add_api_route("/e", lambda: None, response_model=ToyRead)
    app = FastAPI()
    app.include_router(router)
    found = sorted(tables_in_bodies(app))
    assert found == ["/a: Pet", "/b: Pet", "/c: Pet", "/d: Pet", "/e: ToyRead", "/in: Pet"]


def test_a_schema_of_sqlmodel_is_no_table() -> None:
    class Name(SQLModel):
        name: str

    app = FastAPI()
    app.add_api_route("/name", lambda: None, response_model=Name)
    assert list(tables_in_bodies(app)) == []
