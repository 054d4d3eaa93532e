"""The port that encrypts: between start and stop of the service it has the master keys."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from app.core.encryption.envelope import Keyring

Place = tuple[str, ...]
"""Names where a value belongs, from the large to the small."""


class Encryption:
    """The one object that is asked to encrypt and to decrypt."""

    def __init__(self) -> None:
        self._keyring: Keyring | None = None

    def seal(self, plain: str, *place: str) -> str:
        """Encrypt a text for one place; columns do it by themselves.

        Args:
            plain: the text.
            place: names where it belongs, such as `"exports", str(export_id)`: only there it is
                decrypted again.

        Raises:
            RuntimeError: the service does not run.
        """
        return self.keyring.seal(plain.encode(), _as_bytes(place))

    def open(self, sealed: str, *place: str) -> str:
        """Decrypt a text at its place.

        Raises:
            DecryptionError: it was changed or belongs elsewhere, or its master key is not known.
            RuntimeError: the service does not run.
        """
        return self.keyring.open(sealed, _as_bytes(place)).decode()

    def reseal(self, sealed: str, *place: str) -> str:
        """Encrypt a text anew, under the current master key; columns are by `rotate`.

        Raises:
            DecryptionError: it was changed or belongs elsewhere, or its master key is not known.
            RuntimeError: the service does not run.
        """
        return self.seal(self.open(sealed, *place), *place)

    @property
    def keyring(self) -> Keyring:
        """The keys.

        Raises:
            RuntimeError: the service does not run.
        """
        if self._keyring is None:
            raise RuntimeError("encryption is used outside of the application's lifespan")
        return self._keyring

    @contextmanager
    def using(self, keyring: Keyring) -> Iterator[None]:
        """Encrypt by these keys until the block is left."""
        before = self._keyring
        self._keyring = keyring
        try:
            yield
        finally:
            self._keyring = before


def _as_bytes(place: Place) -> bytes:
    # JSON keeps the parts apart: ("ab", "c") is not ("a", "bc").
    return json.dumps(place).encode()


encryption = Encryption()
