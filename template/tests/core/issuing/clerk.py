"""Issues tokens as Clerk documents them: https://clerk.com/docs/guides/sessions/session-tokens."""

from contextlib import AbstractContextManager
from pathlib import Path

from tests.core.issuing.remote import RemoteIssuer
from tests.core.issuing.signing import Claims

PATHS = {"/.well-known/jwks.json": "key_set"}
PAGE = "https://app.example.com"

PUBLIC: frozenset[str] = frozenset()
"""Endpoints that the provider adds and leaves open."""

PRODUCTION: dict[str, str] = {
    "CLERK_ISSUER": "https://clerk.example.com",
    "CLERK_AUTHORIZED_PARTIES": PAGE,
}
"""What production accepts, without anybody there."""


def describe(url: str, tenant: str | None, roles: list[str], scopes: list[str]) -> Claims:
    organisation = {"id": tenant, "rol": " ".join(roles), "slg": "acme"}
    return {
        "iss": url,
        "azp": PAGE,
        "sid": "sess_1",
        "v": 2,
        "o": organisation if tenant or roles else None,
        "scope": " ".join(scopes),
    }


def variables(url: str) -> dict[str, str]:
    return {"CLERK_ISSUER": url, "CLERK_AUTHORIZED_PARTIES": PAGE}


def issuing(certificate: Path | None = None) -> AbstractContextManager[RemoteIssuer]:
    return RemoteIssuer("RS256", PATHS, describe, variables, certificate).running()
