"""Whose jobs they are: a job belongs to the tenant that has asked for it.

Work across tenants does not travel. A job that is enqueued there, or comes by itself, belongs to
nobody, and says itself whom it works for: `as_tenant`, or `across_tenants` with its reason.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from app.core.jobs.scopes import OwnerGoneError
from app.core.tenancy.directory import directory
from app.core.tenancy.scope import as_tenant, current_scope


def tenant_of_jobs() -> str | None:
    """The tenant of a job that is enqueued here."""
    scope = current_scope()
    return str(scope) if isinstance(scope, UUID) else None


@asynccontextmanager
async def in_scope_of(tenant: str | None) -> AsyncIterator[None]:
    """Work as the tenant of a job.

    Raises:
        OwnerGoneError: it was deleted; what is stored for it now, nobody could remove any more.
    """
    if tenant is None:
        yield
        return
    with as_tenant(UUID(tenant)):
        if await directory.is_deleted(UUID(tenant)):
            raise OwnerGoneError(tenant)
        yield
