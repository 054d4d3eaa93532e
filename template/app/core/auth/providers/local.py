"""This service itself signs in: see `app.core.auth.local`."""

from app.core.auth.local.keys import OwnKeys
from app.core.auth.local.settings import LocalSettings
from app.core.auth.principal import Principal
from app.core.auth.tokens import ClaimNames, TokenRules

__all__ = ["FALLBACK", "AuthSettings", "find_keys", "token_rules"]

FALLBACK: Principal | None = None


class AuthSettings(LocalSettings):
    """How this service signs its users in."""


def token_rules(settings: AuthSettings) -> TokenRules:
    """What the service's own tokens must fulfil."""
    return TokenRules(
        provider=settings.auth_provider,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        algorithms=(settings.jwt_algorithm,),
        claims=ClaimNames(tenant=("tenant",), roles=("roles",), scopes=("scope",)),
    )


def find_keys(settings: AuthSettings) -> OwnKeys:
    """The service's own keys."""
    return OwnKeys(settings)
