"""Whose rows the code at hand may see: one tenant's, nobody's, or, explicitly, everybody's.

In a request it is the tenant of the principal, and nothing that the caller sends besides the token
can change it. Jobs and commands, which have no principal, say it with `as_tenant`.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Final

from app.core import context
from app.core.audit import audit
from app.core.auth import Principal
from app.core.tenancy.errors import NoTenantError

ACROSS: Final = "across"
"""The scope that includes every tenant."""

DIRECTORY: Final = "directory"
"""The scope in which the list of tenants is read, and nothing else."""

Scope = uuid.UUID | str | None
"""A tenant, `ACROSS`, `DIRECTORY`, or nobody."""

_MADE_FROM_NAMES = 5
_NAMES = uuid.UUID("6f1a7c0e-52e4-5e0b-9d0c-3c2f6d3b8a51")


@contextmanager
def as_tenant(tenant: uuid.UUID) -> Iterator[None]:
    """Work as a tenant: in a job or a command, where nobody has signed in."""
    token = context.tenant.set(tenant)
    try:
        yield
    finally:
        context.tenant.reset(token)


@contextmanager
def across_tenants(reason: str) -> Iterator[None]:
    """Work across tenants: for administration only. Each use is in the audit log.

    Args:
        reason: what for, as an auditor would want to read it.
    """
    audit("tenancy.across", reason=reason)
    token = context.tenant.set(ACROSS)
    try:
        yield
    finally:
        context.tenant.reset(token)


@contextmanager
def in_directory() -> Iterator[None]:
    """Read the list of tenants, which belongs to none of them; nothing else is seen."""
    token = context.tenant.set(DIRECTORY)
    try:
        yield
    finally:
        context.tenant.reset(token)


def current_scope() -> Scope:
    """Whose rows may be seen here and now."""
    chosen = context.tenant.get()
    if isinstance(chosen, uuid.UUID | str):
        return chosen
    principal = context.principal.get()
    return None if principal is None else tenant_of(principal)


def current_tenant() -> uuid.UUID:
    """The tenant that owns what is stored here and now.

    Raises:
        NoTenantError: nobody said whose it is, or it is work across tenants.
    """
    scope = current_scope()
    if isinstance(scope, uuid.UUID):
        return scope
    if scope == ACROSS:
        raise NoTenantError("Work across tenants must name the tenant of what it stores")
    raise NoTenantError("This belongs to a tenant, and the token names none")


def tenant_of(principal: Principal) -> uuid.UUID | None:
    """The tenant that a token names, if any."""
    if principal.tenant is None:
        return None
    return identify(str(principal.claims.get("iss", "")), principal.tenant)


@lru_cache(maxsize=4096)
def identify(issuer: str, name: str) -> uuid.UUID:
    """The id of a tenant: what the issuer calls it, or made from that name (RFC 9562, 5.5).

    A name that reads like an id made from another name is hashed like any name: otherwise whoever
    may choose the name of their organisation could take the id of another one.
    """
    try:
        found = uuid.UUID(name)
    except ValueError:
        found = None
    if found is not None and str(found) == name and found.version != _MADE_FROM_NAMES:
        return found
    return uuid.uuid5(_NAMES, f"{issuer}|{name}")
