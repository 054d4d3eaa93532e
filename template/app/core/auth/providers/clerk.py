"""Clerk signs in: https://clerk.com/docs/guides/sessions/session-tokens."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from app.core.auth.principal import Principal
from app.core.auth.remote_keys import RemoteKeys, remote_keys
from app.core.auth.settings import IssuerUrl, insecure_issuer
from app.core.auth.tokens import ClaimNames, TokenRules
from app.core.settings import AppSettings, StringList

__all__ = ["FALLBACK", "AuthSettings", "find_keys", "token_rules"]

FALLBACK: Principal | None = None


class AuthSettings(AppSettings):
    """Which Clerk instance issues the tokens."""

    auth_provider: Literal["clerk"] = Field(
        "clerk", description="Who issues the tokens; chosen when the service was rendered"
    )
    clerk_issuer: IssuerUrl = Field(
        description="Frontend API of the instance: https://clerk.example.com"
    )
    clerk_authorized_parties: StringList = Field(
        (), description="Origins whose pages may use their tokens here, separated by commas"
    )

    @property
    def jwt_issuer(self) -> str:
        """Who must have issued a token."""
        return self.clerk_issuer.rstrip("/")

    @property
    def jwks_url(self) -> str:
        """Where the instance publishes its keys."""
        return f"{self.jwt_issuer}/.well-known/jwks.json"

    @property
    def jwt_algorithm(self) -> str:
        """What the instance signs with."""
        return "RS256"

    def insecure(self) -> Iterator[str]:
        """Name each value that production refuses, with the mend."""
        yield from super().insecure()
        yield from insecure_issuer("CLERK_ISSUER", self.clerk_issuer)
        if not self.clerk_authorized_parties:
            yield "CLERK_AUTHORIZED_PARTIES must name the origins of your own pages"


def token_rules(settings: AuthSettings) -> TokenRules:
    """What the instance's tokens must fulfil; the organisation is the tenant.

    The names are those of version 2 of the claims, then those of version 1. Clerk counts a session
    as signed out while it is pending, for example until a second factor is set up. Whoever founds
    an organisation is `admin` there, so no role makes an operator.
    """
    return TokenRules(
        provider=settings.auth_provider,
        issuer=settings.jwt_issuer,
        algorithms=(settings.jwt_algorithm,),
        authorized_parties=settings.clerk_authorized_parties,
        refused={"sts": "pending"},
        claims=ClaimNames(
            tenant=("o.id", "org_id"),
            roles=("o.rol", "org_role"),
            role_prefix="org:",
            operator=None,
        ),
    )


def find_keys(settings: AuthSettings) -> RemoteKeys:
    """The instance's keys."""
    return remote_keys(settings.jwks_url)
