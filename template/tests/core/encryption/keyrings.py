"""Keyrings of some versions."""

import base64

from app.core.encryption.envelope import Keyring
from app.core.encryption.master_keys import MasterKeys
from tests.core.encryption.key_files import key


def keyring(*versions: int) -> Keyring:
    """A keyring with these master keys; the first one is current."""
    keys = {version: base64.b64decode(key(version)) for version in versions}
    return Keyring(MasterKeys(versions[0], keys))
