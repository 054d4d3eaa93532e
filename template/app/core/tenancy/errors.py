"""What goes wrong between tenants."""

from app.core.errors import ForbiddenError


class NoTenantError(ForbiddenError):
    """A tenant's rows are wanted, and nobody said whose."""


class CrossTenantError(RuntimeError):
    """Code tried to touch rows of a tenant that it does not work for: a mistake in the service."""
