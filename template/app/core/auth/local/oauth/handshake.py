"""What binds the answer of another provider to the browser that asked (RFC 9700, 2.1 and 4.7).

A signed cookie keeps the state; the nonce and the PKCE verifier are derived from it with a key that
only this service has, so they need no place of their own.
"""

import hmac
import uuid
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from secrets import token_urlsafe

import jwt
from jwt.utils import base64url_encode

from app.core.auth.local.keys import derive
from app.core.auth.local.realms.realm import Realm
from app.core.auth.local.settings import LocalSettings
from app.core.database.types import utc_now
from app.core.errors import BadRequestError

LIFETIME = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Handshake:
    """One sign-in on its way.

    Attributes:
        provider: where the browser was sent.
        realm: to whose users it wants to belong.
        state: comes back in the address.
        nonce: comes back in an ID token.
        verifier: shows the provider that its code comes from whoever asked (PKCE, RFC 7636).
    """

    provider: str
    realm: Realm
    state: str
    nonce: str
    verifier: str

    @property
    def challenge(self) -> str:
        """What the provider is told of the verifier beforehand (S256)."""
        return base64url_encode(sha256(self.verifier.encode()).digest()).decode()


def cookie_of(provider: str) -> str:
    """The name of the cookie that keeps a handshake."""
    return f"sign_in_{provider}"


def begin(settings: LocalSettings, provider: str, realm: Realm) -> tuple[Handshake, str]:
    """Start a handshake; gives it and the value of its cookie."""
    state = token_urlsafe(32)
    claims = {
        "provider": provider,
        "realm": str(realm or ""),
        "state": state,
        "exp": utc_now() + LIFETIME,
    }
    made = _handshake(settings, provider, realm, state)
    return made, jwt.encode(claims, _key(settings), "HS256")


def resume(
    settings: LocalSettings, provider: str, cookie: str | None, state: str | None
) -> Handshake:
    """Continue a handshake when the browser comes back.

    Raises:
        BadRequestError: this browser has not begun it, or not with this provider, or long ago.
    """
    try:
        kept = jwt.decode(
            cookie or "",
            _key(settings),
            algorithms=["HS256"],
            options={"require": ["exp", "state", "provider", "realm"]},
        )
    except jwt.PyJWTError:
        raise _start_again() from None
    same = hmac.compare_digest(str(kept["state"]).encode(), (state or "").encode())
    if kept["provider"] != provider or not same:
        raise _start_again()
    realm = uuid.UUID(kept["realm"]) if kept["realm"] else None
    return _handshake(settings, provider, realm, kept["state"])


def _handshake(settings: LocalSettings, provider: str, realm: Realm, state: str) -> Handshake:
    def part(purpose: str) -> str:
        code = hmac.digest(_key(settings), f"{purpose}|{provider}|{state}".encode(), "sha256")
        return base64url_encode(code).decode()

    return Handshake(provider, realm, state, nonce=part("nonce"), verifier=part("verifier"))


def _key(settings: LocalSettings) -> bytes:
    return derive(settings.secret_key.get_secret_value(), "oauth handshake")


def _start_again() -> BadRequestError:
    return BadRequestError("This sign-in was not begun in this browser, or too long ago")
