"""Issues tokens as any OpenID provider does (RFC 9068)."""

from contextlib import AbstractContextManager
from pathlib import Path

from tests.core.issuing.remote import RemoteIssuer
from tests.core.issuing.signing import Claims

PATHS = {"/.well-known/openid-configuration": "discovery", "/keys": "key_set"}
AUDIENCE = "https://api.example.com"

PUBLIC: frozenset[str] = frozenset()
"""Endpoints that the provider adds and leaves open."""

PRODUCTION: dict[str, str] = {"OIDC_ISSUER": "https://login.example.com", "OIDC_AUDIENCE": AUDIENCE}
"""What production accepts, without anybody there."""


def describe(url: str, tenant: str | None, roles: list[str], scopes: list[str]) -> Claims:
    return {
        "iss": url,
        "aud": AUDIENCE,
        "client_id": "a-client",
        "tenant": tenant,
        "roles": roles,
        "scope": " ".join(scopes),
    }


def variables(url: str) -> dict[str, str]:
    return {"OIDC_ISSUER": url, "OIDC_AUDIENCE": AUDIENCE}


def issuing(certificate: Path | None = None) -> AbstractContextManager[RemoteIssuer]:
    return RemoteIssuer("RS256", PATHS, describe, variables, certificate).running()
