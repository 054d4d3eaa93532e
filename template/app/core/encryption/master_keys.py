"""The master keys: read from a secret file, or made for development.

The file has one key a line, `VERSION:KEY`, where the key is 32 random bytes in base64
(`openssl rand -base64 32`). The first line is the current key: new values are encrypted under it.
The others only decrypt. A single line may do without a version and is number 1. Empty lines and
lines that begin with # are skipped.
"""

import base64
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
DEVELOPMENT_VERSION = 0
"""The version of the key that is made from `SECRET_KEY`; no file may use it."""

_FEWEST_DIFFERENT_BYTES = 16
"""Random keys have about 30; one that was typed has less."""
_LARGEST_FILE = 65_536
_LINE = re.compile(r"(?:([1-9]\d{0,5}):)?\s*(\S+)")
_MAKE_ONE = "openssl rand -base64 32"


@dataclass(frozen=True, slots=True)
class MasterKeys:
    """Master keys by version; they are never printed.

    Attributes:
        current: the version under which values are encrypted.
        keys: 32 bytes each.
    """

    current: int
    keys: Mapping[int, bytes] = field(repr=False)


def read_master_keys(path: Path) -> MasterKeys:
    """Read a secret file.

    Raises:
        ValueError: there is none, others may read it, or it has no proper keys; says what to do.
    """
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            content = file.read(_LARGEST_FILE)
    except OSError as error:
        raise ValueError(
            f"must name a secret file: {path} cannot be read ({error.strerror});"
            f" make a key by: {_MAKE_ONE}"
        ) from None
    if mode & stat.S_IRWXO:
        raise ValueError(
            f"must name a file that only its owner and group may read: chmod 640 {path}"
        )
    keys = dict(_keys(content, path))
    return MasterKeys(current=next(iter(keys)), keys=keys)


def _keys(content: bytes, path: Path) -> Iterator[tuple[int, bytes]]:
    lines = [line.strip() for line in content.decode(errors="replace").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise ValueError(f"has no key in {path}: put one there, made by: {_MAKE_ONE}")
    seen: set[int] = set()
    for number, line in enumerate(lines, 1):
        found = _LINE.fullmatch(line)
        key = _decode(found[2]) if found else None
        if found is None or key is None:
            raise ValueError(
                f"has no key of {KEY_BYTES} random bytes as number {number} in {path}:"
                f" make one by: {_MAKE_ONE}"
            )
        if found[1] is None and len(lines) > 1:
            raise ValueError(
                f"has several keys in {path}: write a version before each, such as 2:KEY"
            )
        version = int(found[1] or 1)
        if version in seen:
            raise ValueError(f"has the version {version} twice in {path}: give each key its own")
        seen.add(version)
        yield version, key


def _decode(text: str) -> bytes | None:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    proper = len(key) == KEY_BYTES and len(set(key)) >= _FEWEST_DIFFERENT_BYTES
    return key if proper else None


def development_keys(secret: str) -> MasterKeys:
    """Make a key from `SECRET_KEY`, for development and tests."""
    key = derive(secret.encode(), "development master key")
    return MasterKeys(current=DEVELOPMENT_VERSION, keys={DEVELOPMENT_VERSION: key})


def derive(secret: bytes, purpose: str) -> bytes:
    """Make a key for one purpose from a secret (HKDF, RFC 5869)."""
    info = f"groundwork {purpose}".encode()
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(secret)
