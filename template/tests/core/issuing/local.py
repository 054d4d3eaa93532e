"""Issues tokens as the service itself does, with its own keys."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from time import time
from typing import Any
from uuid import uuid4

from app.core.auth.local.keys import ALGORITHM, KeyPair, OwnKeys
from app.core.auth.provider import AuthSettings
from tests.core.issuing.signing import Claims, SigningKey
from tests.core.local.realms.realm import PUBLIC as REALM_PUBLIC
from tests.core.mailbox import Mailbox

Variables = tuple[tuple[str, str], ...]

PUBLIC = frozenset(
    {
        "/.well-known/jwks.json",
        "/api/v1/auth/register",
        "/api/v1/auth/verify-email",
        "/api/v1/auth/login",
        "/api/v1/auth/refresh",
        "/api/v1/auth/logout",
        "/api/v1/auth/password/forgot",
        "/api/v1/auth/password/reset",
        *REALM_PUBLIC,
    }
)
"""Endpoints that the provider adds and leaves open."""

PRODUCTION: dict[str, str] = {
    "AUTH_ISSUER": "https://api.example.com",
    "AUTH_PAGES_URL": "https://app.example.com",
    "SMTP_URL": "smtps://mail.example.com",
    "ARGON2_MEMORY_KIB": "65536",
    "ARGON2_PASSES": "3",
    "ARGON2_LANES": "4",
}
"""What production accepts, without anybody there."""


class OwnKey(SigningKey):
    """The service's own key."""

    def __init__(self, pair: KeyPair) -> None:
        self.id = pair.id
        self.algorithm = ALGORITHM
        self.private = pair.private


class LocalIssuer:
    """Issues tokens for whomever, with the keys that the environment gives.

    Attributes:
        mailbox: what the service sends arrives here.
        variables: the environment with which the service has these keys.
    """

    def __init__(self, mailbox: Mailbox, variables: dict[str, str]) -> None:
        self.mailbox = mailbox
        self.variables = variables

    @property
    def settings(self) -> AuthSettings:
        return _settings(_frozen(self.variables), _frozen(os.environ))

    @property
    def key(self) -> SigningKey:
        return OwnKey(OwnKeys(self.settings).current)

    def claims(
        self,
        subject: str = "somebody",
        *,
        tenant: str | None = None,
        roles: Iterable[str] = (),
        scopes: Iterable[str] = (),
        **changes: Any,
    ) -> Claims:
        settings, now = self.settings, int(time())
        described = {
            "iss": settings.jwt_issuer,
            "aud": settings.jwt_audience,
            "sub": subject,
            "sid": str(uuid4()),
            "jti": uuid4().hex,
            "iat": now,
            "exp": now + 3600,
            "tenant": tenant,
            "roles": sorted(roles),
            "scope": " ".join(scopes),
        }
        described |= changes
        return {name: value for name, value in described.items() if value is not None}

    def token(self, subject: str = "somebody", **claims: Any) -> str:
        return OwnKeys(self.settings).sign(self.claims(subject, **claims))


def _frozen(variables: Mapping[str, str]) -> Variables:
    return tuple(sorted(variables.items()))


@cache
def _settings(variables: Variables, _: Variables) -> AuthSettings:
    """Read them once for each environment: every token asks for them."""
    return AuthSettings(**{name.lower(): value for name, value in variables})  # type: ignore[arg-type]


LITTLE_WORK = {"ARGON2_MEMORY_KIB": "8", "ARGON2_PASSES": "1", "ARGON2_LANES": "1"}
"""As little as argon2 allows; production would refuse it."""


@contextmanager
def issuing(certificate: Path | None = None) -> Iterator[LocalIssuer]:
    # With a certificate it is for a service in production, whose SECRET_KEY is its own business.
    agreed = {**PRODUCTION, "JWT_SECRET": uuid4().hex} if certificate else LITTLE_WORK
    with Mailbox().running() as mailbox:
        yield LocalIssuer(mailbox, {**agreed, "SMTP_URL": f"smtp://127.0.0.1:{mailbox.port}"})
