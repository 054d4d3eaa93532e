"""Tenants: the customers, organisations or teams that share the service."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column, synonym

from app.core.database.base import ModelMixin
from app.core.tenancy.owned import HOME, TENANTS, TenantOwned

SLUG = r"[a-z0-9](-?[a-z0-9])*"


def grave_of(tenant_id: uuid.UUID) -> str:
    """The slug of a tenant that was deleted."""
    return f"deleted:{tenant_id}"  # what nobody can register: no other slug has a colon


class Tenant(TenantOwned, ModelMixin, HOME.base):  # type: ignore[name-defined,misc]
    """A tenant; it sees itself and no other one."""

    __tablename__ = TENANTS
    __table_args__ = (CheckConstraint("slug <> ''", name="slug_not_empty"),)

    slug: Mapped[str] = mapped_column(String(63), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    suspended_at: Mapped[datetime | None] = mapped_column(default=None)

    tenant_id = synonym("id")

    @property
    def is_deleted(self) -> bool:
        """Whether only its id is left, so that nobody gets it again."""
        return self.slug in (grave_of(self.id), f"deleted-{self.id}")  # as 0.1.0 wrote it
