"""Users belong to tenants: each e-mail address has one account in each tenant.

A caller names the tenant by its slug. A slug that nobody has is a tenant without users: callers do
not learn more of it than of an unknown address.
"""

import argparse
import uuid
from contextlib import AbstractContextManager
from typing import Annotated

from fastapi import Query
from pydantic import Field
from sqlalchemy import ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.schema import SchemaItem

from app.core.database.types import uuid7
from app.core.schemas import RequestSchema
from app.core.tenancy.directory import find_tenant, is_open
from app.core.tenancy.models import SLUG
from app.core.tenancy.owned import TenantOwned
from app.core.tenancy.scope import across_tenants, as_tenant, current_tenant

__all__ = [
    "IDENTITY_IS_UNIQUE",
    "USER_IS_UNIQUE",
    "Named",
    "Owned",
    "Realm",
    "Slug",
    "add_argument",
    "admits",
    "claims_of",
    "current",
    "entered",
    "everywhere",
    "find_asked",
    "find_given",
    "find_named",
    "find_tenant",
    "of_user",
]

Realm = uuid.UUID | None
"""To what a user belongs: the id of a tenant."""

Slug = Annotated[str, Field(max_length=63, pattern=f"^{SLUG}$")]

_NOBODY = uuid.UUID("3c0de0a4-6c1e-5d5c-9b58-6b6f7a1f2c11")

USER_IS_UNIQUE = UniqueConstraint("tenant_id", "email")
IDENTITY_IS_UNIQUE = UniqueConstraint("tenant_id", "provider", "subject")


def of_user() -> tuple[SchemaItem, ...]:
    """What makes the column `user_id` name a user of the same tenant, with whom the row goes."""
    return (
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"
        ),
        Index(None, "tenant_id", "user_id"),
    )


class Owned(TenantOwned):
    """Rows of users, which belong to a tenant; nobody else sees or changes them."""

    tenant_id: Mapped[uuid.UUID] = mapped_column(default=current_tenant, sort_order=-1)


class Named(RequestSchema):
    """What names a user besides the e-mail address."""

    tenant: Slug = Field(description="Slug of the tenant")


def entered(realm: Realm) -> AbstractContextManager[None]:
    """Work with the users of a tenant; without one, with those of none."""
    return as_tenant(realm or uuid7())


def everywhere(reason: str) -> AbstractContextManager[None]:
    """Work with the users of all tenants."""
    return across_tenants(reason)


def current() -> Realm:
    """Whose users are worked with.

    Raises:
        NoTenantError: nobody's.
    """
    return current_tenant()


def claims_of(realm: Realm) -> dict[str, str]:
    """What tokens say of a tenant."""
    return {"tenant": str(realm)}


async def admits(realm: Realm) -> bool:
    """Whether users of a tenant may get tokens: others than this service rely on them, too."""
    return realm is not None and await is_open(realm)


async def find_named(body: Named) -> Realm:
    """Find the tenant that a body names; nobody signs in to a suspended one.

    A slug that nobody has gives an id that no tenant has, always the same: so tries are counted.
    """
    found = await find_tenant(body.tenant)
    if found is None or found.suspended_at is not None:
        return uuid.uuid5(_NOBODY, body.tenant)
    return found.id


async def find_asked(
    tenant: Annotated[Slug, Query(description="Slug of the tenant")],
) -> Realm:
    """Find the tenant that an address names: a dependency."""
    return await find_named(Named(tenant=tenant))


def add_argument(command: argparse.ArgumentParser) -> None:
    """Add to a command line what names a tenant."""
    command.add_argument("--tenant", metavar="SLUG", required=True, help="the tenant of the user")


async def find_given(arguments: argparse.Namespace) -> Realm:
    """Find the tenant that a command line names.

    Raises:
        SystemExit: there is none.
    """
    found = await find_tenant(arguments.tenant)
    if found is None or found.is_deleted:
        raise SystemExit(f"There is no tenant {arguments.tenant}")
    return found.id
