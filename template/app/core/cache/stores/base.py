"""What keeps values and locks: bytes by the name of a key, each for some time."""

from collections.abc import Sequence
from typing import Protocol

LEASE = ":lease"
"""What follows the name of a key in that of its lease: who may fill it."""


class NoNumberError(TypeError):
    """What is kept there is no number, so it cannot be counted up."""


class Store(Protocol):
    """Keeps values. All times are seconds."""

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Read several keys at once."""

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        """Write a key."""

    async def add(self, key: str, value: bytes, seconds: float) -> bytes:
        """Write a key unless it is there, and give what is there now."""

    async def lease(self, key: str, token: bytes, seconds: float) -> bool:
        """Say who may fill a key; False when it is somebody else."""

    async def renew(self, key: str, token: bytes, seconds: float) -> bool:
        """Keep a lease for so long from now on; False when it is not this one any more."""

    async def fill(self, key: str, value: bytes | None, seconds: float, token: bytes) -> bool:
        """Write a key, or nothing, and end its lease, if the lease is still this one."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove keys and their leases."""

    async def increment(self, key: str, amount: int, seconds: float) -> int:
        """Count a key up; the time runs from the first time on.

        Raises:
            NoNumberError: there is something else.
        """

    async def clear(self) -> None:
        """Remove everything."""


class Locks(Protocol):
    """Keeps locks. All times are seconds."""

    async def take(self, name: str, owner: str, seconds: float) -> int | None:
        """Give a number greater than that of every earlier owner; None when it is taken."""

    async def extend(self, name: str, owner: str, seconds: float) -> bool:
        """Keep it for so long from now on; False when it is somebody else's."""

    async def release(self, name: str, owner: str) -> bool:
        """Let it go; False when it is somebody else's."""
