"""Envelopes: each value has a key of its own, and the master key encrypts only that one.

A sealed value is text: `vVERSION.` and, in base64 (RFC 4648, 5, without padding),

    40 bytes   the value's own key, wrapped by the master key's (AES key wrap, RFC 3394)
    12 bytes   nonce
    the rest   the value, AES-256-GCM (NIST SP 800-38D), its last 16 bytes the tag

The tag also covers the version and the place for which the value was sealed, so that a value which
was moved elsewhere is not opened there.
"""

import base64
import binascii
import os
import re

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap,
    aes_key_wrap,
)

from app.core.encryption.master_keys import MasterKeys, derive

_WRAPPED_BYTES = 40
_NONCE_BYTES = 12
_SEALED = re.compile(r"v(\d{1,6})\.([A-Za-z0-9_-]+)")


class DecryptionError(RuntimeError):
    """A value cannot be decrypted: it was changed or moved, or its master key is not there."""


class Keyring:
    """Seals under the current master key, and opens under every one that is known."""

    def __init__(self, masters: MasterKeys) -> None:
        self.current = masters.current
        self._wrapping = {
            version: derive(key, "column keys") for version, key in masters.keys.items()
        }

    @property
    def versions(self) -> list[int]:
        """The master keys that are known, the current one first."""
        return list(self._wrapping)

    def seal(self, plain: bytes, place: bytes) -> str:
        """Encrypt a value for one place.

        Args:
            plain: the value.
            place: names where it belongs; it is opened there only.
        """
        data_key, nonce = AESGCM.generate_key(256), os.urandom(_NONCE_BYTES)
        wrapped = aes_key_wrap(self._wrapping[self.current], data_key)
        sealed = AESGCM(data_key).encrypt(nonce, plain, _bound(self.current, place))
        content = base64.urlsafe_b64encode(wrapped + nonce + sealed).rstrip(b"=")
        return f"{prefix(self.current)}{content.decode()}"

    def open(self, sealed: str, place: bytes) -> bytes:
        """Decrypt a value at its place.

        Raises:
            DecryptionError: it was changed or belongs elsewhere, or its master key is not known.
        """
        version = version_of(sealed)
        if version not in self._wrapping:
            raise DecryptionError(f"the master key of version {version} is not in the secret file")
        content = _decode(sealed.partition(".")[2])
        wrapped, rest = content[:_WRAPPED_BYTES], content[_WRAPPED_BYTES:]
        nonce, encrypted = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
        try:
            data_key = aes_key_unwrap(self._wrapping[version], wrapped)
            return AESGCM(data_key).decrypt(nonce, encrypted, _bound(version, place))
        except (InvalidTag, InvalidUnwrap, ValueError):
            raise DecryptionError(
                "a value was changed or moved, or the master key is another one"
            ) from None


def prefix(version: int) -> str:
    """What all values that are sealed under a master key begin with."""
    return f"v{version}."


def version_of(sealed: str) -> int:
    """Tell under which master key a value was sealed.

    Raises:
        DecryptionError: it is no sealed value.
    """
    found = _SEALED.fullmatch(sealed)
    if found is None:
        raise DecryptionError("what is stored is no encrypted value")
    return int(found[1])


def _bound(version: int, place: bytes) -> bytes:
    return prefix(version).encode() + place


def _decode(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise DecryptionError("what is stored is no encrypted value") from None
