"""Whose jobs they are: a job belongs to the tenant that has asked for it.

Work across tenants does not travel. A job that is enqueued there, or comes by itself, belongs to
nobody, and says itself whom it works for: `as_tenant`, or `across_tenants` with its reason.
"""

from contextlib import AbstractContextManager, nullcontext
from uuid import UUID

from app.core.tenancy.scope import as_tenant, current_scope


def tenant_of_jobs() -> str | None:
    """The tenant of a job that is enqueued here."""
    scope = current_scope()
    return str(scope) if isinstance(scope, UUID) else None


def in_scope_of(tenant: str | None) -> AbstractContextManager[None]:
    """Work as the tenant of a job."""
    return nullcontext() if tenant is None else as_tenant(UUID(tenant))
