"""Any OpenID provider signs in: Keycloak, Auth0, Entra ID, Zitadel, Google and others.

See https://openid.net/specs/openid-connect-discovery-1_0.html for how its keys are found.
"""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from app.core.auth.principal import Principal
from app.core.auth.remote_keys import RemoteKeys, remote_keys
from app.core.auth.settings import IssuerUrl, insecure_issuer
from app.core.auth.tokens import ClaimNames, TokenRules
from app.core.settings import AppSettings

__all__ = ["FALLBACK", "AuthSettings", "find_keys", "token_rules"]

FALLBACK: Principal | None = None
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA"]


class AuthSettings(AppSettings):
    """Which OpenID provider issues the tokens."""

    auth_provider: Literal["oidc"] = Field(
        "oidc", description="Who issues the tokens; chosen when the service was rendered"
    )
    oidc_issuer: IssuerUrl = Field(description="Issuer of the tokens: https://login.example.com")
    oidc_audience: str = Field(
        description="Name of this API at the provider, as in a token's `aud`", min_length=1
    )
    oidc_algorithm: Algorithm = Field("RS256", description="What the provider signs with")
    oidc_roles_claim: str = Field(
        "roles", description="Claim with the roles; a dot leads into an object"
    )
    oidc_tenant_claim: str = Field(
        "tenant", description="Claim with the tenant; a dot leads into an object"
    )

    @property
    def jwt_issuer(self) -> str:
        """Who must have issued a token."""
        return self.oidc_issuer

    @property
    def discovery_url(self) -> str:
        """Where the provider says, among other things, where its keys are."""
        return f"{self.oidc_issuer.rstrip('/')}/.well-known/openid-configuration"

    @property
    def jwt_algorithm(self) -> str:
        """What the provider signs with."""
        return self.oidc_algorithm

    def insecure(self) -> Iterator[str]:
        """Name each value that production refuses, with the mend."""
        yield from super().insecure()
        yield from insecure_issuer("OIDC_ISSUER", self.oidc_issuer)


def token_rules(settings: AuthSettings) -> TokenRules:
    """What the provider's tokens must fulfil."""
    return TokenRules(
        provider=settings.auth_provider,
        issuer=settings.jwt_issuer,
        audience=settings.oidc_audience,
        algorithms=(settings.jwt_algorithm,),
        claims=ClaimNames(tenant=(settings.oidc_tenant_claim,), roles=(settings.oidc_roles_claim,)),
    )


def find_keys(settings: AuthSettings) -> RemoteKeys:
    """The provider's keys."""
    return remote_keys(settings.discovery_url, issuer=settings.jwt_issuer)
