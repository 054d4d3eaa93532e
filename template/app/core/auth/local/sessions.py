"""Sessions of users: families of refresh tokens, of which only the newest is good, and once.

A refresh swaps the token by one conditional UPDATE, so of any number of refreshes with the same
token exactly one gets a new pair, on every database. The others are answered in one of two ways:

- within AUTH_REFRESH_GRACE_SECONDS of the swap, and only for the token right before the present
  one, by 409: two tabs of a browser woke at the same time, and the loser finds the new pair where
  the winner has put it. It gets no pair of its own, so this helps no thief;
- later, or with an older token, the token was stolen or its copy was: the session ends at once for
  both, the answer is 401, and the audit log has `session.reused`.

A client that never saw the answer to its refresh has to sign in again. Access tokens that are out
already run until they expire (AUTH_ACCESS_TOKEN_SECONDS): no request asks the database about them.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, case, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.audit import audit
from app.core.auth.local import refresh_tokens, throttle
from app.core.auth.local.keys import OwnKeys
from app.core.auth.local.models import HOME, User, UserRole, UserSession
from app.core.auth.local.realms.realm import admits, claims_of, current, entered
from app.core.auth.local.refresh_tokens import RefreshToken
from app.core.auth.local.settings import LocalSettings
from app.core.database.types import utc_now, uuid7
from app.core.errors import ConflictError, NotFoundError, UnauthenticatedError

MOST_SESSIONS = 100
"""Of one user; the oldest go."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from, as far as it is remembered."""

    address: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class Pair:
    """What a client gets when it signs in or refreshes."""

    access_token: str
    refresh_token: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class Granted:
    """What an access token is going to say, and the refresh token that goes with it."""

    refresh: RefreshToken
    user: User
    roles: list[str]


class Refused(Enum):
    """Why a refresh gives nothing."""

    INVALID = auto()
    LOST_RACE = auto()
    REUSED = auto()


# --- beginning ---


async def begin(
    session: AsyncSession, settings: LocalSettings, user: User, origin: Origin
) -> Granted:
    """Start a session of a user."""
    now = utc_now()
    refresh = refresh_tokens.make(settings, uuid7(), current())
    ends_at = now + timedelta(hours=settings.auth_session_hours)
    await _make_room(session, user.id)
    session.add(
        UserSession(
            id=refresh.session,
            user_id=user.id,
            token_hash=refresh.hash,
            generation=refresh.generation,
            refreshed_at=now,
            ends_at=ends_at,
            expires_at=min(ends_at, now + _idle(settings)),
            address=origin.address[:45],
            user_agent=origin.user_agent[:255],
        )
    )
    await session.flush()
    return Granted(refresh, user, await roles_of(session, user.id))


def issue_pair(settings: LocalSettings, granted: Granted) -> Pair:
    """Make the tokens, once the session is stored."""
    now = int(utc_now().timestamp())
    claims: dict[str, Any] = {
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "sub": str(granted.user.id),
        "sid": str(granted.refresh.session),
        "jti": uuid.uuid4().hex,
        "iat": now,
        "exp": now + settings.auth_access_token_seconds,
        "roles": granted.roles,
        "scope": "",
        **claims_of(granted.refresh.realm),
    }
    token = OwnKeys(settings).sign(claims)
    return Pair(token, granted.refresh.text, settings.auth_access_token_seconds)


async def roles_of(session: AsyncSession, user_id: uuid.UUID) -> list[str]:
    """The roles of a user, in order."""
    found = await session.scalars(
        select(UserRole.role).where(UserRole.user_id == user_id).order_by(UserRole.role)
    )
    return list(found)


async def _make_room(session: AsyncSession, user_id: uuid.UUID) -> None:
    kept = await session.scalars(
        select(UserSession.id)
        .where(UserSession.user_id == user_id)
        .order_by(UserSession.refreshed_at.desc())
        .offset(MOST_SESSIONS - 1)
        .limit(MOST_SESSIONS)
    )
    if old := list(kept):
        await session.execute(delete(UserSession).where(UserSession.id.in_(old)))


# --- refreshing ---


async def refresh(settings: LocalSettings, text: str) -> Pair:
    """Swap a refresh token for a new pair; see the top of this module.

    Raises:
        UnauthenticatedError: it is not valid, or was used before.
        ConflictError: it was used by another request just now.
    """
    token = refresh_tokens.read(settings, text)
    if token is None or not await admits(token.realm):
        raise _sign_in_again()

    async def work(session: AsyncSession) -> Granted | Refused:
        return await _swap(session, settings, token)

    with entered(token.realm):
        outcome = await HOME.in_transaction(work, attempts=10)
    if outcome is Refused.LOST_RACE:
        raise ConflictError("Another request has just refreshed this session: use its tokens")
    if outcome is Refused.REUSED:
        audit("session.reused", session=str(token.session))
    if isinstance(outcome, Refused):
        raise _sign_in_again()
    return issue_pair(settings, outcome)


async def _swap(
    session: AsyncSession, settings: LocalSettings, old: RefreshToken
) -> Granted | Refused:
    now = utc_now()
    new = refresh_tokens.make(settings, old.session, old.realm, old.generation + 1)
    idle_end = now + _idle(settings)
    done = await session.execute(
        update(UserSession)
        .where(
            UserSession.id == old.session,
            UserSession.token_hash == old.hash,
            UserSession.expires_at > now,
        )
        .values(
            token_hash=new.hash,
            generation=new.generation,
            refreshed_at=now,
            expires_at=case((UserSession.ends_at < idle_end, UserSession.ends_at), else_=idle_end),
        )
        .execution_options(synchronize_session=False)
    )
    if not _changed(done):
        return await _why(session, settings, old, now)
    user = await session.scalar(
        select(User)
        .join(UserSession, UserSession.user_id == User.id)
        .where(UserSession.id == old.session, User.disabled_at.is_(None))
    )
    if user is None:
        return Refused.INVALID
    return Granted(new, user, await roles_of(session, user.id))


async def _why(
    session: AsyncSession, settings: LocalSettings, old: RefreshToken, now: datetime
) -> Refused:
    found = await session.get(UserSession, old.session)
    if found is None or not old.genuine or old.generation >= found.generation:
        return Refused.INVALID
    just_now = now - found.refreshed_at <= timedelta(seconds=settings.auth_refresh_grace_seconds)
    if old.generation == found.generation - 1 and just_now:
        return Refused.LOST_RACE
    ended = await _end(session, UserSession.id == old.session)
    return Refused.REUSED if ended else Refused.INVALID


def _idle(settings: LocalSettings) -> timedelta:
    return timedelta(hours=settings.auth_session_idle_hours)


def _sign_in_again() -> UnauthenticatedError:
    return UnauthenticatedError(
        "The refresh token is not valid: sign in again", challenge='Bearer error="invalid_token"'
    )


# --- looking and ending ---


async def list_of(session: AsyncSession, user_id: uuid.UUID) -> list[UserSession]:
    """The sessions of a user that can still be refreshed, the last used first."""
    found = await session.scalars(
        select(UserSession)
        .where(UserSession.user_id == user_id, UserSession.expires_at > utc_now())
        .order_by(UserSession.refreshed_at.desc(), UserSession.id)
        .limit(MOST_SESSIONS)
    )
    return list(found)


async def is_known(session: AsyncSession, user_id: uuid.UUID, address: str) -> bool:
    """Whether a user is signed in at an address, or at another one of the same network."""
    found = await session.scalars(
        select(UserSession.address)
        .where(UserSession.user_id == user_id, UserSession.expires_at > utc_now())
        .distinct()
    )
    return throttle.network(address) in {throttle.network(each) for each in found}


async def end(session: AsyncSession, user_id: uuid.UUID, identifier: uuid.UUID) -> None:
    """End a session of a user.

    Raises:
        NotFoundError: the user has no such session.
    """
    if not await _end(session, UserSession.user_id == user_id, UserSession.id == identifier):
        raise NotFoundError(f"There is no session {identifier}")


async def end_quietly(
    session: AsyncSession, user_id: uuid.UUID, identifier: uuid.UUID | None
) -> None:
    """End a session of a user, if there is one."""
    await _end(session, UserSession.user_id == user_id, UserSession.id == identifier)


async def end_all(session: AsyncSession, user_id: uuid.UUID) -> None:
    """End all sessions of a user."""
    await _end(session, UserSession.user_id == user_id)


async def end_by_token(settings: LocalSettings, text: str) -> None:
    """End the session of a refresh token, of whatever generation; others change nothing.

    A token from before a change of `SECRET_KEY` is known by its hash alone.
    """
    token = refresh_tokens.read(settings, text)
    if token is not None:
        known = () if token.genuine else (UserSession.token_hash == token.hash,)
        with entered(token.realm):
            async with HOME.session_context() as session:
                await _end(session, UserSession.id == token.session, *known)


async def _end(session: AsyncSession, *where: ColumnElement[bool]) -> bool:
    return _changed(await session.execute(delete(UserSession).where(*where)))


def _changed(result: object) -> bool:
    return isinstance(result, CursorResult) and result.rowcount > 0
