"""Tokens as Clerk issues them: https://clerk.com/docs/guides/sessions/session-tokens."""

from typing import Any

ALGORITHM = "RS256"


def variables(url: str) -> dict[str, str]:
    """The environment with which the service believes an issuer."""
    return {"CLERK_ISSUER": url}


def describe(
    url: str, *, tenant: str | None, roles: list[str], scopes: list[str]
) -> dict[str, Any]:
    """The claims beside subject and times; without an organisation there is no role."""
    organisation = {"id": tenant or "personal", "rol": " ".join(roles)}
    claims = {"iss": url, "v": 2, "sts": "active", "scope": " ".join(scopes)}
    return claims | ({"o": organisation} if tenant or roles else {})
