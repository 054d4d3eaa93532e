"""Passwords: which are accepted, and how they are hashed (argon2id, RFC 9106)."""

import unicodedata
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from secrets import token_bytes

from anyio import CapacityLimiter, to_thread
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from app.core.auth.local.settings import LocalSettings
from app.core.errors import ServiceUnavailableError, ValidationFailedError

LONGEST = 1024
MOST_WAITING = 64
"""How many may wait for a hash before others are sent away."""

_COMMON = """
123456789012 1234567890123 12345678901234 123456789012345 1234567890123456 000000000000
111111111111 111222333444 112233445566 121212121212 123123123123 123456123456 1q2w3e4r5t6y
1qaz2wsx3edc 1qazxsw23edc abcd1234abcd abcdefghijkl abcdefghijklm administrator
administrator1 adminadminadmin changeme1234 changemenow! changemechangeme computer1234
correcthorsebatterystaple football1234 iloveyou1234 iloveyouiloveyou internet1234
letmein12345 letmeinletmein liverpool123 manchester123 masterpassword monkey123456
mypassword12 mypassword123 mypassword1234 p@ssw0rd1234 p@ssword1234 passw0rd1234 password1234
password12345 password123456 password1234567 password12345678 password123456789 passwordpass
passwordpassword princess1234 q1w2e3r4t5y6 qazwsxedcrfv qwerty123456 qwerty1234567
qwertyqwerty qwertyuiop12 qwertyuiop123 qwertyuiop[] qwertyuiopasdf qwertyuiopasdfgh
secret123456 secretpassword starwars1234 sunshine1234 superman1234 testtesttest
thisisapassword trustno11234 unbelievable welcome12345 welcome123456 zaq12wsxcde3 zxcvbnmasdfg
"""
COMMON = frozenset(_COMMON.split())
"""The commonest that are long enough; what is shorter is refused anyway."""


def normalised(password: str) -> str:
    """The same characters, whatever keyboard typed them (NIST SP 800-63B, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def check_password(password: str, email: str, shortest: int) -> None:
    """Refuse passwords that others would guess; there are no rules about kinds of characters.

    Raises:
        ValidationFailedError: it is too short, too long, one of the commonest, or the address.
    """
    text = normalised(password)
    folded = text.casefold()
    if not shortest <= len(text) <= LONGEST:
        raise ValidationFailedError(f"A password has {shortest} to {LONGEST} characters")
    if folded in COMMON or len(set(folded)) < 3:
        raise ValidationFailedError("This password is too common: choose another")
    if folded in (email, email.partition("@")[0]):
        raise ValidationFailedError("A password must not be the e-mail address")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a password was right, and a new hash to store when the old one has aged."""

    right: bool
    new_hash: str | None = None


class Passwords:
    """Hashes passwords in threads of its own, so that sign-ins cannot take all of them."""

    def __init__(self, memory_kib: int, passes: int, lanes: int, at_once: int) -> None:
        hasher = Argon2Hasher(time_cost=passes, memory_cost=memory_kib, parallelism=lanes)
        self._hashes = PasswordHash((hasher,))
        self._threads = CapacityLimiter(at_once)
        # What nobody's password gives, but comparing with it costs as much as with any other.
        parts = (f"m={memory_kib},t={passes},p={lanes}", _unpadded(16), _unpadded(32))
        self._absent = "$".join(("", "argon2id", "v=19", *parts))

    async def hash(self, password: str) -> str:
        """Hash a new password.

        Raises:
            ServiceUnavailableError: too many wait already.
        """
        self._refuse_crowd()
        return await to_thread.run_sync(
            self._hashes.hash, normalised(password), limiter=self._threads
        )

    async def verify(self, password: str, stored: str | None) -> Verdict:
        """Compare a password; without a stored hash it costs the same and is wrong.

        Raises:
            ServiceUnavailableError: too many wait already.
        """
        self._refuse_crowd()
        given = normalised(password)
        return await to_thread.run_sync(self._verify, given, stored, limiter=self._threads)

    def _verify(self, password: str, stored: str | None) -> Verdict:
        if stored is None:
            self._hashes.verify(password, self._absent)
            return Verdict(right=False)
        return Verdict(*self._hashes.verify_and_update(password, stored))

    def _refuse_crowd(self) -> None:
        if self._threads.statistics().tasks_waiting >= MOST_WAITING:
            raise ServiceUnavailableError("Too many sign in at the moment", retry_after=5)


def _unpadded(size: int) -> str:
    return b64encode(token_bytes(size)).decode().rstrip("=")


@cache
def _passwords(memory_kib: int, passes: int, lanes: int, at_once: int) -> Passwords:
    return Passwords(memory_kib, passes, lanes, at_once)


def passwords(settings: LocalSettings) -> Passwords:
    """The one object of the process that hashes passwords with these settings."""
    return _passwords(
        settings.argon2_memory_kib,
        settings.argon2_passes,
        settings.argon2_lanes,
        settings.argon2_at_once,
    )
