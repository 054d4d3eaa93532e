"""The keys that sign this service's tokens, derived from secrets.

Nothing is stored and nothing has to be agreed upon: whoever knows a secret makes the same key pair
of it. To rotate without one refused token: set JWT_SECRET_NEXT and wait until all processes and all
readers of the key set know it; then make it JWT_SECRET, the old one JWT_SECRET_PREVIOUS, and drop
that when its last token has expired (AUTH_ACCESS_TOKEN_SECONDS).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from time import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from jwt import PyJWK
from jwt.algorithms import ECAlgorithm
from jwt.utils import base64url_encode
from pydantic import SecretStr

from app.core.auth.local.settings import LocalSettings
from app.core.auth.tokens import LEEWAY_SECONDS
from app.core.secrets.port import secrets

ALGORITHM = "ES256"
_CURVE = ec.SECP256R1()
# The order of the curve's group (FIPS 186-5, 3.1 and SP 800-186, 3.2.1.3).
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

_ends: dict[str, float] = {}
"""When the last token ends that this process may have signed with a key made from SECRET_KEY."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the keys are derived from.

    Attributes:
        current: signs.
        previous: signed before.
        next: is going to sign.
        first: signed in this process until a store had a current one.
    """

    current: str
    previous: str | None = None
    next: str | None = None
    first: str | None = None


def read_secrets(settings: LocalSettings) -> Secrets:
    """Read the secrets as they are now; asked for each token, so it must be cheap."""
    names = ("jwt_secret", "jwt_secret_previous", "jwt_secret_next")
    current, previous, following = (_present(settings, name) for name in names)
    derived = derive(settings.secret_key.get_secret_value(), "jwt", 32).hex()
    if current is None:
        _ends[derived] = time() + settings.auth_access_token_seconds + LEEWAY_SECONDS
        return Secrets(derived, previous, following)
    # The store's first key refuses nobody who was signed in before there was any.
    running = settings.jwt_secret is None and time() < _ends.get(derived, 0)
    return Secrets(current, previous, following, derived if running else None)


def _is_said(settings: LocalSettings, name: str) -> bool:
    """Whether the environment says it, so that it never changes."""
    return name in settings.model_fields_set and name not in settings.from_store


def _present(settings: LocalSettings, name: str) -> str | None:
    value: SecretStr | None = getattr(settings, name)
    if not _is_said(settings, name) and secrets.started:
        value = secrets.current(name)
    return value.get_secret_value() if value else None


@lru_cache(maxsize=64)
def derive(secret: str, purpose: str, length: int = 32) -> bytes:
    """Make a key for one purpose from a secret (HKDF, RFC 5869)."""
    return HKDF(SHA256(), length, salt=None, info=f"groundwork {purpose}".encode()).derive(
        secret.encode()
    )


class KeyPair:
    """A key that signs, made from a secret.

    Attributes:
        id: the thumbprint of its public part (RFC 7638).
        private: its private part.
        public: its public part, as it stands in a key set (RFC 7517).
    """

    def __init__(self, secret: str) -> None:
        # 128 bits more than needed, so that no number is likelier than another (FIPS 186-5, A.2.1).
        number = int.from_bytes(derive(secret, "ES256", 48)) % (_ORDER - 1) + 1
        self.private = ec.derive_private_key(number, _CURVE)
        described = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        self.id = _thumbprint(described)
        self.public = {**described, "kid": self.id, "alg": ALGORITHM, "use": "sig"}
        self.verifying = PyJWK(self.public)

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Make a token (RFC 9068)."""
        headers = {"kid": self.id, "typ": "at+jwt"}
        return jwt.encode(dict(claims), self.private, ALGORITHM, headers)


@lru_cache(maxsize=16)
def _key_pair(secret: str) -> KeyPair:
    return KeyPair(secret)


def _thumbprint(key: Mapping[str, Any]) -> str:
    members = {name: key[name] for name in ("crv", "kty", "x", "y")}
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return base64url_encode(hashlib.sha256(text.encode()).digest()).decode()


class OwnKeys:
    """The keys of this service: to sign with, to verify with, to publish."""

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings

    @property
    def _all(self) -> list[KeyPair]:
        found = read_secrets(self._settings)
        given = (found.current, found.next, found.previous, found.first)
        return [_key_pair(secret) for secret in dict.fromkeys(given) if secret]

    @property
    def current(self) -> KeyPair:
        """The key that signs now."""
        return self._all[0]

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Make a token with the current key."""
        return self.current.sign(claims)

    def published(self) -> list[dict[str, Any]]:
        """The public keys, the current one first."""
        return [key.public for key in self._all]

    async def find(self, key_id: str | None) -> PyJWK | None:
        """Give the key of this id, or the only one there is when no id is given."""
        keys = self._all
        if key_id is None:
            return keys[0].verifying if len(keys) == 1 else None
        return next((key.verifying for key in keys if key.id == key_id), None)

    # --- what keys of issuers elsewhere need (see remote_keys) ---

    async def refresh(self) -> None:
        """Do nothing: they are always there."""

    @property
    def fresh(self) -> bool:
        """Whether the keys are as young as they should be: they always are."""
        return True

    def __len__(self) -> int:
        """Count the keys."""
        return len(self._all)
