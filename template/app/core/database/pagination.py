"""Pages that stay right while rows come and go: a cursor says after which row to go on."""

import base64
import binascii
import hashlib
import hmac
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query, Request
from pydantic import BaseModel

from app.core.errors import BadRequestError

ItemT = TypeVar("ItemT")
MAX_LIMIT = 100
_SIGNATURE_BYTES = 16


class CursorPage(BaseModel, Generic[ItemT]):
    """One page of a list; pass `next_cursor` as `cursor` to get the one after it."""

    items: list[ItemT]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Rows(Generic[ItemT]):
    """One page as the repository gives it."""

    items: Sequence[ItemT]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page the caller asks for.

    Cursors are signed together with the list that they belong to, so that a made-up one, or
    one from another list, is refused rather than read as a position.
    """

    limit: int
    cursor: str | None
    secret: bytes

    def position(self, scope: str) -> uuid.UUID | None:
        """The id of the last row that the caller has, or None at the start.

        Raises:
            BadRequestError: the cursor was not made for this list.
        """
        if self.cursor is None:
            return None
        try:
            raw = base64.b64decode(self.cursor.encode(), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        value, signature = raw[:16], raw[16:]
        if not hmac.compare_digest(signature, self._sign(scope, value)) or len(value) != 16:
            raise BadRequestError("The cursor does not belong to this list: start without one")
        return uuid.UUID(bytes=value)

    def cursor_after(self, scope: str, last: uuid.UUID) -> str:
        """Make the cursor of the page that follows a row."""
        raw = last.bytes + self._sign(scope, last.bytes)
        return base64.b64encode(raw, altchars=b"-_").decode()

    def _sign(self, scope: str, value: bytes) -> bytes:
        message = b"cursor:" + scope.encode() + b":" + value
        return hmac.digest(self.secret, message, hashlib.sha256)[:_SIGNATURE_BYTES]


async def page_request(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows on a page")] = 20,
    cursor: Annotated[str | None, Query(max_length=200, description="From the page before")] = None,
) -> PageRequest:
    """Read `limit` and `cursor` from the query."""
    secret = request.app.state.settings.secret_key.get_secret_value().encode()
    return PageRequest(limit, cursor, secret)


PageDep = Annotated[PageRequest, Depends(page_request)]
