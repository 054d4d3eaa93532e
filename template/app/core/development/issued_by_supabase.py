"""Tokens as Supabase issues them: https://supabase.com/docs/guides/auth/jwt-fields."""

from typing import Any

ALGORITHM = "ES256"


def variables(url: str) -> dict[str, str]:
    """The environment with which the service believes an issuer."""
    return {"SUPABASE_URL": url}


def describe(
    url: str, *, tenant: str | None, roles: list[str], scopes: list[str]
) -> dict[str, Any]:
    """The claims beside subject and times."""
    metadata = {"provider": "email", "roles": roles} | ({"tenant_id": tenant} if tenant else {})
    return {
        "iss": f"{url}/auth/v1",
        "aud": "authenticated",
        "role": "authenticated",
        "app_metadata": metadata,
        "user_metadata": {},
        "scope": " ".join(scopes),
    }
