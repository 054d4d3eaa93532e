"""Settings of the service's own sign-in."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, SecretStr

from app.core.auth.local import defaults
from app.core.auth.settings import IssuerUrl, insecure_issuer
from app.core.mail.settings import MailSettings
from app.core.settings import DEVELOPMENT_SECRET

_SECRETS = ("jwt_secret", "jwt_secret_previous", "jwt_secret_next")
_SHORTEST_SECRET = 32
_LEAST_WORK_KIB = 35_840
"""Memory times passes of the cheapest that OWASP recommends: 7 MiB, five passes.
See https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html."""


class LocalSettings(MailSettings):
    """Who issues the tokens: this service."""

    auth_provider: Literal["local"] = Field(
        "local", description="Who issues the tokens; chosen when the service was rendered"
    )
    auth_issuer: IssuerUrl = Field(
        defaults.ISSUER, description="Public address of this service, as in tokens' `iss`"
    )
    auth_audience: str | None = Field(
        None, description="For whom the tokens are, their `aud`; without a value: the issuer"
    )
    auth_pages_url: IssuerUrl = Field(
        defaults.PAGES_URL,
        description="Where the pages are that mails lead to, such as /verify-email",
    )
    jwt_secret: SecretStr | None = Field(
        None, description="Gives the key that signs tokens; without a value: made from SECRET_KEY"
    )
    jwt_secret_previous: SecretStr | None = Field(
        None, description="The one before: its tokens are still accepted"
    )
    jwt_secret_next: SecretStr | None = Field(
        None, description="The one to come: already published and accepted"
    )
    auth_access_token_seconds: int = Field(
        600, ge=10, le=86_400, description="How long an access token is valid"
    )
    auth_session_idle_hours: int = Field(
        336, ge=1, description="A session ends when it was not used for so long"
    )
    auth_session_hours: int = Field(
        2160, ge=1, description="A session ends after so long, however much it is used"
    )
    auth_refresh_grace_seconds: int = Field(
        10, ge=0, le=120, description="How long a second use of a refresh token may be an accident"
    )
    password_min_length: int = Field(12, ge=8, le=64, description="Shortest password, characters")
    argon2_memory_kib: int = Field(65_536, ge=8, description="Memory of one password hash, in KiB")
    argon2_passes: int = Field(3, ge=1, description="Passes of one password hash")
    argon2_lanes: int = Field(4, ge=1, description="Lanes (threads) of one password hash")
    argon2_at_once: int = Field(4, ge=1, description="Password hashes that are made at a time")
    google_client_id: str | None = Field(None, description="Switches sign-in by Google on")
    google_client_secret: SecretStr | None = Field(None, description="Belongs to the client id")
    google_issuer: IssuerUrl = Field(
        "https://accounts.google.com", description="Google's OpenID provider"
    )
    github_client_id: str | None = Field(None, description="Switches sign-in by GitHub on")
    github_client_secret: SecretStr | None = Field(None, description="Belongs to the client id")
    github_url: IssuerUrl = Field("https://github.com", description="GitHub, or your own one")
    github_api_url: IssuerUrl = Field("https://api.github.com", description="Its API")

    @property
    def jwt_issuer(self) -> str:
        """Who issues the tokens."""
        return self.auth_issuer.rstrip("/")

    @property
    def jwt_audience(self) -> str:
        """For whom they are."""
        return self.auth_audience or self.jwt_issuer

    @property
    def jwt_algorithm(self) -> str:
        """What this service signs with."""
        return "ES256"

    def published(self) -> Iterator[str]:
        """Name each secret that everybody can read, with the mend."""
        yield from super().published()
        for name in _SECRETS:
            secret = getattr(self, name)
            if secret and DEVELOPMENT_SECRET in secret.get_secret_value():
                yield f"{name.upper()} must not be the published one: openssl rand -hex 32"

    def insecure(self) -> Iterator[str]:
        """Name each value that production refuses, with the mend."""
        yield from super().insecure()
        yield from insecure_issuer("AUTH_ISSUER", self.auth_issuer)
        yield from insecure_issuer("AUTH_PAGES_URL", self.auth_pages_url)
        if self.smtp_url is None:
            yield "SMTP_URL must name a mail server: users verify their addresses by mail"
        for name in _SECRETS:
            secret = getattr(self, name)
            if secret and len(secret.get_secret_value()) < _SHORTEST_SECRET:
                yield f"{name.upper()} must be at least {_SHORTEST_SECRET} characters"
        if self.argon2_memory_kib * self.argon2_passes < _LEAST_WORK_KIB:
            yield f"ARGON2_MEMORY_KIB times ARGON2_PASSES must be at least {_LEAST_WORK_KIB}"
        for provider in ("google", "github"):
            if getattr(self, f"{provider}_client_id") and not getattr(
                self, f"{provider}_client_secret"
            ):
                yield f"{provider.upper()}_CLIENT_SECRET must be set with the client id"
