"""What a refresh token looks like: opaque to others, and made so that reuse is recognised.

It names its session, its realm and its generation and carries a random secret, all under a code
that only this service can make (HMAC-SHA256). Of the newest token of a session a hash is stored,
and nothing of those before: that one of them was genuine, its code says.
"""

import hashlib
import hmac
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from secrets import token_bytes

from app.core.auth.local.keys import derive
from app.core.auth.local.realms.realm import Realm
from app.core.auth.local.settings import LocalSettings

_SECRET, _CODE = 24, 16
_SIZE = 16 + 4 + 16 + _SECRET + _CODE
_NOWHERE = uuid.UUID(int=0)
LONGEST = 128


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token, read or made.

    Attributes:
        text: what the client keeps.
        session: the session that it belongs to.
        realm: to what its user belongs.
        generation: how many there were in this session before it.
        genuine: whether this service has made it.
    """

    text: str
    session: uuid.UUID
    realm: Realm
    generation: int
    genuine: bool

    @property
    def hash(self) -> str:
        """What is stored of it."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def __repr__(self) -> str:
        return f"RefreshToken({self.session}, {self.generation})"


def make(
    settings: LocalSettings, session: uuid.UUID, realm: Realm, generation: int = 0
) -> RefreshToken:
    """Make the token of this generation."""
    place = (realm or _NOWHERE).bytes
    body = session.bytes + generation.to_bytes(4) + place + token_bytes(_SECRET)
    text = urlsafe_b64encode(body + _code(settings, body)).decode()
    return RefreshToken(text, session, realm, generation, genuine=True)


def read(settings: LocalSettings, text: str) -> RefreshToken | None:
    """Read a token; None when it is nothing of the kind."""
    try:
        raw = urlsafe_b64decode(text)
    except ValueError:
        return None
    # Of the many texts for the same bytes only one counts.
    if len(raw) != _SIZE or urlsafe_b64encode(raw).decode() != text:
        return None
    body, code = raw[:-_CODE], raw[-_CODE:]
    realm = uuid.UUID(bytes=body[20:36])
    return RefreshToken(
        text,
        session=uuid.UUID(bytes=body[:16]),
        realm=None if realm == _NOWHERE else realm,
        generation=int.from_bytes(body[16:20]),
        genuine=hmac.compare_digest(code, _code(settings, body)),
    )


def _code(settings: LocalSettings, body: bytes) -> bytes:
    key = derive(settings.secret_key.get_secret_value(), "refresh tokens")
    return hmac.digest(key, body, "sha256")[:_CODE]
