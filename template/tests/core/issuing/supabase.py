"""Issues tokens as Supabase documents them: https://supabase.com/docs/guides/auth/jwt-fields."""

from contextlib import AbstractContextManager
from pathlib import Path

from tests.core.issuing.remote import RemoteIssuer
from tests.core.issuing.signing import Claims

PATHS = {"/auth/v1/.well-known/jwks.json": "key_set"}

PUBLIC: frozenset[str] = frozenset()
"""Endpoints that the provider adds and leaves open."""

PRODUCTION: dict[str, str] = {"SUPABASE_URL": "https://abcdefghijklmnopqrst.supabase.co"}
"""What production accepts, without anybody there."""


def describe(url: str, tenant: str | None, roles: list[str], scopes: list[str]) -> Claims:
    return {
        "iss": f"{url}/auth/v1",
        "aud": "authenticated",
        "role": "authenticated",
        "aal": "aal1",
        "is_anonymous": False,
        "app_metadata": {"provider": "email", "tenant_id": tenant, "roles": roles},
        "user_metadata": {"tenant_id": "chosen-by-the-user", "roles": ["admin"]},
        "scope": " ".join(scopes),
    }


def variables(url: str) -> dict[str, str]:
    return {"SUPABASE_URL": url}


def issuing(certificate: Path | None = None) -> AbstractContextManager[RemoteIssuer]:
    return RemoteIssuer("ES256", PATHS, describe, variables, certificate).running()
