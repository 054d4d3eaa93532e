"""The credentials with which this service signs in at somebody else's OAuth server."""

from dataclasses import dataclass

from pydantic import SecretStr

from app.core.secrets.port import secrets


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """What an OAuth server knows this service by."""

    id: str
    secret: SecretStr


def oauth_client(provider: str) -> OAuthClient:
    """Find the client of a provider: `oauth_client("google")` reads GOOGLE_CLIENT_ID and _SECRET.

    Ask each time it is used, so that a rotated secret is taken up.

    Raises:
        LookupError: one of the two is missing; names it.
    """
    prefix = provider.upper().replace("-", "_")
    return OAuthClient(
        id=_required(f"{prefix}_CLIENT_ID").get_secret_value(),
        secret=_required(f"{prefix}_CLIENT_SECRET"),
    )


def _required(name: str) -> SecretStr:
    value = secrets.current(name)
    if value is None:
        raise LookupError(f"{name} is not set")
    return value
