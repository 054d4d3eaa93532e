"""What every issuer of tokens can do."""

from collections.abc import Iterable
from typing import Any, Protocol


class Issuer(Protocol):
    """Issues tokens that the service accepts."""

    @property
    def variables(self) -> dict[str, str]:
        """The environment with which the service believes this issuer."""

    def token(
        self,
        subject: str = "somebody",
        *,
        tenant: str | None = None,
        roles: Iterable[str] = (),
        scopes: Iterable[str] = (),
        **changes: Any,
    ) -> str:
        """Issue a token; `changes` replaces claims, or leaves those out that are None."""


def bearer(token: str) -> dict[str, str]:
    """The headers of a caller with a token."""
    return {"Authorization": f"Bearer {token}"} if token else {}
