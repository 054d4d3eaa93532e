"""Supabase signs in: https://supabase.com/docs/guides/auth/jwts."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, SecretStr

from app.core.auth.principal import Principal
from app.core.auth.remote_keys import RemoteKeys, remote_keys
from app.core.auth.settings import IssuerUrl, insecure_issuer
from app.core.auth.tokens import ClaimNames, TokenRules
from app.core.settings import AppSettings

__all__ = ["FALLBACK", "AuthSettings", "find_keys", "token_rules"]

FALLBACK: Principal | None = None
_SECRET_OF_EVERYBODY = "super-secret-jwt-token-with-at-least-32-characters-long"  # noqa: S105
"""What `supabase start` uses on every developer's machine."""


class AuthSettings(AppSettings):
    """Which Supabase project issues the tokens."""

    auth_provider: Literal["supabase"] = Field(
        "supabase", description="Who issues the tokens; chosen when the service was rendered"
    )
    supabase_url: IssuerUrl = Field(description="Address of the project: https://<id>.supabase.co")
    supabase_jwt_secret: SecretStr | None = Field(
        None,
        description="Legacy JWT secret, only for projects without signing keys",
        min_length=32,
    )

    @property
    def jwt_issuer(self) -> str:
        """Who must have issued a token."""
        return f"{self.supabase_url.rstrip('/')}/auth/v1"

    @property
    def jwks_url(self) -> str:
        """Where the project publishes its keys."""
        return f"{self.jwt_issuer}/.well-known/jwks.json"

    @property
    def jwt_algorithm(self) -> str:
        """What the project signs with."""
        return "ES256" if self.supabase_jwt_secret is None else "HS256"

    def published(self) -> Iterator[str]:
        """Name each secret that everybody can read, with the mend."""
        yield from super().published()
        secret = self.supabase_jwt_secret
        if secret and secret.get_secret_value() == _SECRET_OF_EVERYBODY:
            yield "SUPABASE_JWT_SECRET must not be the one that `supabase start` uses"

    def insecure(self) -> Iterator[str]:
        """Name each value that production refuses, with the mend."""
        yield from super().insecure()
        yield from insecure_issuer("SUPABASE_URL", self.supabase_url)


def token_rules(settings: AuthSettings) -> TokenRules:
    """What the project's tokens must fulfil.

    Of the metadata only `app_metadata` counts: users can change their `user_metadata` themselves.
    """
    secret = settings.supabase_jwt_secret
    return TokenRules(
        provider=settings.auth_provider,
        issuer=settings.jwt_issuer,
        audience="authenticated",
        secret=secret.get_secret_value() if secret else None,
        claims=ClaimNames(
            tenant=("app_metadata.tenant_id",), roles=("app_metadata.roles", "app_metadata.role")
        ),
    )


def find_keys(settings: AuthSettings) -> RemoteKeys:
    """The project's keys."""
    return remote_keys(settings.jwks_url)
