"""The tables of users, their sessions and what belongs to them."""

import json
import uuid
from datetime import datetime
from typing import Final

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.core.auth.local.realms.realm import (
    IDENTITY_IS_UNIQUE,
    USER_IS_UNIQUE,
    Owned,
    of_user,
)
from app.core.database.base import ModelMixin
from app.core.database.layout import DATABASES

HOME: Final = DATABASES[0]
"""The database in which users are."""

LONGEST_EMAIL = 254
"""RFC 5321, 4.5.3.1.3, without the angle brackets."""
HASH = String(64)
"""A SHA-256 in hexadecimal digits."""


def _of_user() -> "ForeignKey":
    return ForeignKey("users.id", ondelete="CASCADE")


class User(Owned, ModelMixin, HOME.base):  # type: ignore[name-defined,misc]
    """Somebody who may sign in; their address is verified, otherwise they are not stored yet."""

    __tablename__ = "users"
    __table_args__ = (USER_IS_UNIQUE,)

    email: Mapped[str] = mapped_column(String(LONGEST_EMAIL))
    password_hash: Mapped[str | None] = mapped_column(String(255), default=None)
    disabled_at: Mapped[datetime | None] = mapped_column(default=None)


class UserRole(HOME.base):  # type: ignore[name-defined,misc]
    """A role that a user has."""

    __tablename__ = "user_roles"

    user_id: Mapped[uuid.UUID] = mapped_column(_of_user(), primary_key=True)
    role: Mapped[str] = mapped_column(String(64), primary_key=True)


class UserSession(Owned, ModelMixin, HOME.base):  # type: ignore[name-defined,misc]
    """A family of refresh tokens: one sign-in, on one device. When it ends, the row goes."""

    __tablename__ = "user_sessions"
    __table_args__ = of_user()

    user_id: Mapped[uuid.UUID]
    token_hash: Mapped[str] = mapped_column(HASH)
    generation: Mapped[int]
    refreshed_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    address: Mapped[str] = mapped_column(String(45))
    user_agent: Mapped[str] = mapped_column(String(255))


class MailToken(ModelMixin, HOME.base):  # type: ignore[name-defined,misc]
    """A secret that was sent by mail and may be used once.

    It belongs to nobody's realm: only the secret itself tells which one is meant.
    """

    __tablename__ = "user_mail_tokens"

    purpose: Mapped[str] = mapped_column(String(16))
    token_hash: Mapped[str] = mapped_column(HASH, unique=True)
    email: Mapped[str] = mapped_column(String(LONGEST_EMAIL), index=True)
    user_id: Mapped[uuid.UUID | None] = mapped_column(_of_user(), index=True)
    password_hash: Mapped[str | None] = mapped_column(String(255))
    realm_id: Mapped[uuid.UUID | None]
    notes: Mapped[str] = mapped_column(String(1000))
    expires_at: Mapped[datetime] = mapped_column(index=True)

    @property
    def remembered(self) -> dict[str, str]:
        """What is to happen when it is used."""
        found: dict[str, str] = json.loads(self.notes)
        return found


class UserIdentity(Owned, ModelMixin, HOME.base):  # type: ignore[name-defined,misc]
    """Whom another provider knows a user as."""

    __tablename__ = "user_identities"
    __table_args__ = (IDENTITY_IS_UNIQUE, *of_user())

    user_id: Mapped[uuid.UUID]
    provider: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(255))


class Attempt(HOME.base):  # type: ignore[name-defined,misc]
    """How often something was tried in a stretch of time."""

    __tablename__ = "login_attempts"

    key: Mapped[str] = mapped_column(HASH, primary_key=True)
    count: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(index=True)
