"""Encrypted columns of tenants: bound to theirs, and rotated across all."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from sqlalchemy import String, delete, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.config import Settings
from app.core.database.base import TYPE_ANNOTATION_MAP, ModelMixin
from app.core.encryption import DecryptionError, EncryptedStr, EncryptedText, encryption
from app.core.encryption.rotation import count_by_version, rotate
from app.core.tenancy import across_tenants, as_tenant, current_tenant
from app.core.tenancy.owned import TenantOwned
from tests.core.encryption.accounts import running
from tests.core.encryption.keyrings import keyring
from tests.core.first_database import database
from tests.core.log import AuditLog
from tests.core.plugin import Addresses

ONE, OTHER = uuid4(), uuid4()


class OwnedBase(DeclarativeBase):
    """Base of tables that only these tests use."""

    type_annotation_map = TYPE_ANNOTATION_MAP


class Wallet(TenantOwned, ModelMixin, OwnedBase):
    """Something of a tenant that is encrypted."""

    __tablename__ = "wallets_of_the_tests"

    tenant_id: Mapped[UUID] = mapped_column(default=current_tenant)
    name: Mapped[str] = mapped_column(String(50))
    seed: Mapped[EncryptedStr] = mapped_column(EncryptedText())


@pytest.fixture(scope="module")
async def service(module_databases: Addresses, settings: Settings) -> AsyncIterator[None]:
    async with running(module_databases, settings, OwnedBase.metadata):
        yield


@pytest.fixture(autouse=True)
async def wallets(service: None) -> AsyncIterator[None]:
    """A wallet of each of two tenants, under the old key."""
    with across_tenants("test"):
        async with database.session_context() as session:
            await session.execute(delete(Wallet))
    with encryption.using(keyring(1)):
        for tenant in (ONE, OTHER):
            with as_tenant(tenant):
                async with database.session_context() as session:
                    session.add(Wallet(name="mine", seed=EncryptedStr(f"of {tenant}")))
    with encryption.using(keyring(2, 1)):
        yield


async def seed_of(tenant: UUID) -> str:
    with as_tenant(tenant):
        async with database.read_session_context() as session:
            return (await session.scalars(select(Wallet))).one().seed.reveal()


async def test_a_tenant_reads_its_own() -> None:
    assert [await seed_of(ONE), await seed_of(OTHER)] == [f"of {ONE}", f"of {OTHER}"]


async def test_a_row_that_is_given_to_another_tenant_is_not_decrypted() -> None:
    table = Wallet.__table__
    with across_tenants("test"):
        async with database.session_context() as session:
            await session.execute(update(table).values(tenant_id=OTHER))  # type: ignore[arg-type]
    with as_tenant(OTHER):
        async with database.read_session_context() as session:
            read = [each.seed for each in await session.scalars(select(Wallet))]
    opened = []
    for value in read:
        try:
            opened.append(value.reveal())
        except DecryptionError:
            opened.append("refused")
    assert sorted(opened) == sorted([f"of {OTHER}", "refused"])


async def test_all_tenants_are_rotated_and_that_is_audited(settings: Settings) -> None:
    log = AuditLog(settings)
    outcome = await rotate(database, metadata=OwnedBase.metadata, batch=1)
    assert (outcome.encrypted, outcome.complete) == (2, True)
    assert [line["reason"] for line in log.lines()] == ["rotate the master key"]
    counted = await count_by_version(database, metadata=OwnedBase.metadata)
    assert counted == {"v2": 2, "v1": 0, "other": 0}
    with encryption.using(keyring(2)):
        assert [await seed_of(ONE), await seed_of(OTHER)] == [f"of {ONE}", f"of {OTHER}"]
