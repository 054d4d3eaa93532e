"""Users belong to tenants: here each has one of their own, called like them."""

import re

from app.core.auth.local.realms.tenants import Named, Realm, find_named

PUBLIC = frozenset({"/api/v1/auth/invitations/accept"})


def slug_of(email: str) -> str:
    """The tenant of an address."""
    return re.sub(r"[^a-z0-9]+", "-", email.strip().lower().partition("@")[0]).strip("-")[:63]


def founding(email: str) -> dict[str, str]:
    """What a registration says besides."""
    slug = slug_of(email) or "nobody"
    return {"tenant": slug, "tenant_name": f"Tenant {slug}"}


def naming(email: str) -> dict[str, str]:
    """What a sign-in says besides."""
    return {"tenant": slug_of(email) or "nobody"}


def giving(email: str) -> list[str]:
    """What a command line says besides."""
    return ["--tenant", slug_of(email)]


async def realm_of(email: str) -> Realm:
    """The realm of a user."""
    return await find_named(Named(**naming(email)))
