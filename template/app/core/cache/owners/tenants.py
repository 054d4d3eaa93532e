"""Tenants: no key is ever read by another one than the one it was written for."""

from app.core.tenancy.scope import current_scope


def current_owner() -> str:
    """Name whose keys are meant here and now.

    Where nobody has signed in, and in work across tenants, other keys are meant than those of any
    tenant.
    """
    scope = current_scope()
    return "nobody" if scope is None else f"tenant {scope}"
