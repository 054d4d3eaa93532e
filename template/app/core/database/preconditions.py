"""Changing only what one has seen: `ETag` and `If-Match` (RFC 9110, 13.1.1)."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header

from app.core.database.base import Versioned
from app.core.errors import BadRequestError, PreconditionFailedError

ANY = "*"


def etag(entity: Versioned) -> str:
    """The strong entity tag of a row: its version."""
    return f'"{entity.version}"'


@dataclass(frozen=True, slots=True)
class Precondition:
    """What the caller says that it has seen; without `If-Match` everything will do."""

    tags: frozenset[str]

    def check(self, entity: Versioned) -> None:
        """Compare with the row as it is.

        Raises:
            PreconditionFailedError: the row was changed since.
        """
        if self.tags and ANY not in self.tags and etag(entity) not in self.tags:
            raise PreconditionFailedError("It was changed meanwhile: read it again")


async def read_precondition(
    if_match: Annotated[
        str | None, Header(max_length=1000, description="ETag of what you have read")
    ] = None,
) -> Precondition:
    """Read the `If-Match` header.

    Raises:
        BadRequestError: it is there and names no tag, so it would silently protect nothing.
    """
    if if_match is None:
        return Precondition(frozenset())
    tags = frozenset(filter(None, (tag.strip() for tag in if_match.split(","))))
    if not tags:
        raise BadRequestError("If-Match names no entity tag")
    return Precondition(tags)


PreconditionDep = Annotated[Precondition, Depends(read_precondition)]
