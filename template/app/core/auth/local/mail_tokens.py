"""Secrets that are sent by mail: they prove that somebody reads what is sent to an address.

Each works once and for a while, and only its hash is stored.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping
from datetime import timedelta
from secrets import token_urlsafe
from typing import Literal

from sqlalchemy import CursorResult, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.auth.local.models import MailToken
from app.core.auth.local.realms.realm import Realm, current
from app.core.database.types import utc_now
from app.core.errors import BadRequestError

Purpose = Literal["register", "invite", "reset", "email", "nothing"]

LIFETIME: dict[Purpose, timedelta] = {
    "register": timedelta(hours=24),
    "invite": timedelta(days=7),
    "reset": timedelta(hours=1),
    "email": timedelta(hours=1),
    "nothing": timedelta(hours=1),
}


def digest(token: str) -> str:
    """What is stored of a random token; it needs no salt, since nobody can guess it."""
    return hashlib.sha256(token.encode()).hexdigest()


async def issue(
    session: AsyncSession,
    purpose: Purpose,
    email: str,
    *,
    user_id: uuid.UUID | None = None,
    password_hash: str | None = None,
    realm: Realm = None,
    remembered: Mapping[str, str] | None = None,
) -> str:
    """Make a token and store its hash."""
    token = token_urlsafe(32)
    session.add(
        MailToken(
            purpose=purpose,
            token_hash=digest(token),
            email=email,
            user_id=user_id,
            password_hash=password_hash,
            realm_id=realm,
            notes=json.dumps(remembered or {}, ensure_ascii=False),
            expires_at=utc_now() + LIFETIME[purpose],
        )
    )
    await session.flush()
    return token


async def find(session: AsyncSession, purpose: Purpose, token: str) -> MailToken:
    """Look at a token without using it up.

    Raises:
        BadRequestError: it is not valid, for whatever reason.
    """
    found: MailToken | None = await session.scalar(
        select(MailToken).where(
            MailToken.token_hash == digest(token),
            MailToken.purpose == purpose,
            MailToken.expires_at > utc_now(),
        )
    )
    if found is None:
        raise not_valid()
    return found


async def take(session: AsyncSession, purpose: Purpose, token: str) -> MailToken:
    """Use a token up.

    Raises:
        BadRequestError: it is not valid, for whatever reason.
    """
    found = await find(session, purpose, token)
    # Two at once find it; only one of them deletes it.
    if not await _delete(session, found):
        raise not_valid()
    return found


def not_valid() -> BadRequestError:
    """Say that a token cannot be used."""
    return BadRequestError("The token is not valid any more: ask for a new mail")


async def _delete(session: AsyncSession, token: MailToken) -> bool:
    done = await session.execute(
        delete(MailToken)
        .where(MailToken.id == token.id)
        .execution_options(synchronize_session=False)
    )
    session.expunge(token)
    return isinstance(done, CursorResult) and done.rowcount == 1


async def withdraw(session: AsyncSession, purpose: Purpose, email: str) -> None:
    """Make all tokens of this purpose and realm worthless that were sent to an address."""
    await session.execute(
        delete(MailToken).where(
            MailToken.email == email,
            MailToken.purpose == purpose,
            or_(MailToken.realm_id.is_(None), MailToken.realm_id == current()),
        )
    )


async def withdraw_of(session: AsyncSession, purpose: Purpose, user_id: uuid.UUID) -> None:
    """Make all tokens of this purpose worthless that were issued for a user."""
    await session.execute(
        delete(MailToken).where(MailToken.user_id == user_id, MailToken.purpose == purpose)
    )
