"""Users belong to the service: each e-mail address has one account."""

import argparse
import uuid
from contextlib import AbstractContextManager, nullcontext

from sqlalchemy import ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.sql.schema import SchemaItem

from app.core.schemas import RequestSchema

__all__ = [
    "IDENTITY_IS_UNIQUE",
    "USER_IS_UNIQUE",
    "Named",
    "Owned",
    "Realm",
    "add_argument",
    "admits",
    "claims_of",
    "current",
    "entered",
    "everywhere",
    "find_asked",
    "find_given",
    "find_named",
    "of_user",
]

Realm = uuid.UUID | None
"""To what a user belongs: here always None."""

USER_IS_UNIQUE = UniqueConstraint("email")
IDENTITY_IS_UNIQUE = UniqueConstraint("provider", "subject")


def of_user() -> tuple[SchemaItem, ...]:
    """What makes the column `user_id` name a user, with whom the row goes."""
    return (
        ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        Index(None, "user_id"),
    )


class Owned:
    """Rows of users."""


class Named(RequestSchema):
    """What names a user besides the e-mail address: nothing."""


def entered(_: Realm) -> AbstractContextManager[None]:
    """Work with the users of a realm."""
    return nullcontext()


def everywhere(_reason: str) -> AbstractContextManager[None]:
    """Work with all users."""
    return nullcontext()


def current() -> Realm:
    """Whose users are worked with."""
    return None


def claims_of(_: Realm) -> dict[str, str]:
    """What tokens say of a realm."""
    return {}


async def admits(_: Realm) -> bool:
    """Whether users of a realm may get tokens."""
    return True


async def find_named(_: Named) -> Realm:
    """Find the realm that a body names."""
    return None


async def find_asked() -> Realm:
    """Find the realm that an address names: a dependency."""
    return None


def add_argument(_: argparse.ArgumentParser) -> None:
    """Add to a command line what names a realm."""


async def find_given(_: argparse.Namespace) -> Realm:
    """Find the realm that a command line names."""
    return None
