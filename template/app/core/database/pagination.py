"""Pages that stay right while rows come and go: a cursor says after which row to go on."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import orjson
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

    Cursors are signed together with the list that they belong to, its order and its filters, so
    that a made-up one, or one from another list, is refused rather than read as a position.

    Attributes:
        limit: rows on a page.
        cursor: from the page before, or None for the first page.
        sort: name of a column, with `-` in front for descending, or None for the list's own order.
        secret: signs the cursors.
    """

    limit: int
    cursor: str | None
    sort: str | None
    secret: bytes

    def position(self, scope: str) -> list[Any] | None:
        """The sort values of the last row that the caller has, or None at the start.

        Raises:
            BadRequestError: the cursor was not made for this list.
        """
        if self.cursor is None:
            return None
        try:
            raw = base64.b64decode(self.cursor.encode(), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        signature, values = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(scope, values)):
            raise BadRequestError("The cursor does not belong to this list: start without one")
        position: list[Any] = orjson.loads(values)
        return position

    def cursor_after(self, scope: str, position: Sequence[Any]) -> str:
        """Make the cursor of the page that follows a row, given its sort values."""
        values = orjson.dumps(position, default=str)
        return base64.b64encode(self._sign(scope, values) + values, altchars=b"-_").decode()

    def _sign(self, scope: str, values: bytes) -> bytes:
        message = b"cursor:" + scope.encode() + b":" + values
        return hmac.digest(self.secret, message, hashlib.sha256)[:_SIGNATURE_BYTES]


async def page_request(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows on a page")] = 20,
    cursor: Annotated[
        str | None, Query(max_length=4000, description="`next_cursor` of the page before")
    ] = None,
    sort: Annotated[
        str | None, Query(max_length=50, description="A field; with `-` in front, descending")
    ] = None,
) -> PageRequest:
    """Read `limit`, `cursor` and `sort` from the query."""
    secret = request.app.state.settings.secret_key.get_secret_value().encode()
    return PageRequest(limit, cursor, sort, secret)


PageDep = Annotated[PageRequest, Depends(page_request)]
