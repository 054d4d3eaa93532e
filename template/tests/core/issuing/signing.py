"""Keys, and tokens put together by hand: also those that no library would make."""

import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from uuid import uuid4

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms
from jwt.utils import base64url_encode

from tests.core.issuing.base import Issuer

Claims = dict[str, Any]
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
Sign = Callable[[bytes], bytes]
Part = Mapping[str, Any] | str | bytes
"""A header or claims: what is written as JSON, or the text itself."""


class SigningKey:
    """A key pair with an id, of the kind that an algorithm needs."""

    def __init__(self, algorithm: str, size: int = 2048) -> None:
        self.id = uuid4().hex
        self.algorithm = algorithm
        self.private: PrivateKey
        if algorithm == "ES256":
            self.private = ec.generate_private_key(ec.SECP256R1())
        elif algorithm == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
        else:
            self.private = rsa.generate_private_key(public_exponent=65537, key_size=size)

    @property
    def public(self) -> Claims:
        """As it stands in a key set (RFC 7517)."""
        key = self.private.public_key()
        if isinstance(key, ec.EllipticCurvePublicKey):
            described = ECAlgorithm.to_jwk(key, as_dict=True)
        elif isinstance(key, ed25519.Ed25519PublicKey):
            described = OKPAlgorithm.to_jwk(key, as_dict=True)
        else:
            described = RSAAlgorithm.to_jwk(key, as_dict=True)
        return {**described, "kid": self.id, "alg": self.algorithm, "use": "sig"}

    def encoded(self, encoding: serialization.Encoding) -> bytes:
        """The public key as PEM or DER."""
        return self.private.public_key().public_bytes(
            encoding, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, message: bytes, algorithm: str | None = None) -> bytes:
        """Sign as the algorithm says, or as another one does that takes the same kind of key."""
        signer = get_default_algorithms()[algorithm or self.algorithm]
        return signer.sign(message, self.private)


class SigningIssuer(Issuer, Protocol):
    """An issuer whose key and claims a test may borrow."""

    @property
    def key(self) -> SigningKey:
        """What it signs with now."""

    def claims(self, subject: str = "somebody", **changes: Any) -> Claims:
        """What it says of somebody."""


def shared(secret: bytes, digest: str = "sha256") -> Sign:
    """Sign with a shared secret."""
    return lambda message: hmac.new(secret, message, digest).digest()


def compact(header: Part, claims: Part, sign: Sign) -> str:
    """Put a token together (RFC 7515, 7.1)."""
    message = b".".join(base64url_encode(_bytes(part)) for part in (header, claims))
    return b".".join((message, base64url_encode(sign(message)))).decode()


def _bytes(part: Part) -> bytes:
    text = json.dumps(part) if isinstance(part, Mapping) else part
    return text.encode() if isinstance(text, str) else text
