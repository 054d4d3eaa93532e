"""Without row-level security, what the session net cannot confine is refused."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI
from sqlalchemy import exists, func, insert, literal_column, select, table, text, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from app.core.tenancy import across_tenants, as_tenant
from app.core.tenancy.errors import CrossTenantError
from app.core.tenancy.models import Tenant
from app.core.tenancy.owned import HOME, TenantOwned
from tests.core.first_database import ExtraModel

TABLE = HOME.metadata.tables["tenants"]


@pytest.fixture
async def session(app: FastAPI, rolled_back: None) -> AsyncIterator[AsyncSession]:
    with as_tenant(uuid4()):
        async with HOME.session_context() as session:
            yield session


@pytest.mark.parametrize(
    "statement",
    [
        text("SELECT * FROM tenants"),
        text("SELECT 1 FROM x JOIN `Tenants` t ON true"),
        text("DELETE FROM tenants"),
        select(TABLE),
        select(TABLE.c.id),
        select(TABLE.alias()),
        select(func.count()).select_from(TABLE),
        select(literal_column("1")).select_from(TABLE),
        select(select(TABLE).subquery()),
        select(Tenant.id).join(TABLE.alias("twin"), literal_column("1") == 1),
        select(literal_column("1")).where(exists(select(TABLE.c.id))),
        select(literal_column("1")).where(TABLE.c.name == "x"),
        select(Tenant).from_statement(select(TABLE)),
        update(TABLE).values(name="taken"),
        TABLE.delete(),
        TABLE.insert().values(id=uuid4(), name="x", slug="x"),
        insert(Tenant).from_select(["id", "name"], select(Tenant.id, Tenant.name)),
    ],
    ids=lambda statement: " ".join(str(statement).split())[:60],
)
async def test_what_is_not_confined_is_refused(session: AsyncSession, statement: Any) -> None:
    with pytest.raises(CrossTenantError):
        await session.execute(statement)


async def test_a_bulk_update_by_key_is_refused(session: AsyncSession) -> None:
    with pytest.raises(CrossTenantError):
        await session.execute(update(Tenant), [{"id": uuid4(), "name": "taken"}])


async def test_other_raw_sql_is_not(session: AsyncSession) -> None:
    assert await session.scalar(text("SELECT 'a tenant is no table'")) is not None


async def test_work_across_tenants_may_do_all_of_it(app: FastAPI, rolled_back: None) -> None:
    with across_tenants("test"):
        async with HOME.session_context() as session:
            by_table = (await session.execute(select(func.count()).select_from(TABLE))).scalar()
            by_text = (await session.execute(text("SELECT count(*) FROM tenants"))).scalar()
    assert by_table == by_text


@pytest.mark.parametrize(
    "statement",
    [
        text("SELECT id FROM tenants").columns(TABLE.c.id),
        select(Tenant).from_statement(text("SELECT * FROM tenants")),
        select(literal_column("(SELECT name FROM tenants)")),
        select(literal_column("name")).select_from(table("tenants")),
        select(Tenant.id).where(text("1 = 1 OR 1")),
    ],
    ids=lambda statement: " ".join(str(statement).split())[:60],
)
async def test_text_inside_of_a_statement_is_refused_too(
    session: AsyncSession, statement: Any
) -> None:
    with pytest.raises(CrossTenantError):
        await session.execute(statement)


async def test_an_upsert_is_refused(session: AsyncSession) -> None:
    """It would change the row of whoever has this id."""
    row = {"id": uuid4(), "slug": "x", "name": "x"}
    statement = upsert(Tenant).values(row)
    with pytest.raises(CrossTenantError):
        await session.execute(
            statement.on_conflict_do_update(index_elements=["id"], set_={"name": "y"})
        )


async def test_a_model_that_comes_late_is_known_too(session: AsyncSession) -> None:
    raw = text("SELECT * FROM latecomers_of_the_tests")
    await session.execute(text("SELECT 1"))  # all names are known by now

    class Latecomer(TenantOwned, ExtraModel):
        """A model that is defined after the first statement."""

        __tablename__ = "latecomers_of_the_tests"

        tenant_id: Mapped[UUID] = mapped_column()

    assert Latecomer.__tablename__ in str(raw)
    with pytest.raises(CrossTenantError):
        await session.execute(raw)
