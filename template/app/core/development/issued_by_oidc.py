"""Tokens as OpenID providers issue them (RFC 9068)."""

from typing import Any

ALGORITHM = "RS256"
AUDIENCE = "development"


def variables(url: str) -> dict[str, str]:
    """The environment with which the service believes an issuer."""
    return {"OIDC_ISSUER": url, "OIDC_AUDIENCE": AUDIENCE}


def describe(
    url: str, *, tenant: str | None, roles: list[str], scopes: list[str]
) -> dict[str, Any]:
    """The claims beside subject and times."""
    claims = {"iss": url, "aud": AUDIENCE, "roles": roles, "scope": " ".join(scopes)}
    return claims | ({"tenant": tenant} if tenant else {})
