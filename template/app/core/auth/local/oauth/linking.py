"""Whose account a foreign identity opens."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.audit import audit
from app.core.auth.local import letters, sessions
from app.core.auth.local.directory import find_user
from app.core.auth.local.models import HOME, User, UserIdentity
from app.core.auth.local.oauth.providers import Identity
from app.core.auth.local.parts import send_after
from app.core.auth.local.realms.joining import add_newcomer
from app.core.auth.local.realms.realm import admits, current
from app.core.auth.local.sessions import Granted, Origin, Pair
from app.core.auth.local.settings import LocalSettings
from app.core.errors import ForbiddenError, UnauthenticatedError


async def sign_in(settings: LocalSettings, identity: Identity, origin: Origin) -> Pair:
    """Sign in whoever a provider has named.

    An identity that is new belongs to the user with the same address, if the provider has verified
    it: the users here have verified theirs too, so both are the same person's. Who reads an address
    may have changed since the provider looked, so its owner here is told. An address that the
    provider has not verified opens nothing.

    Raises:
        ForbiddenError: the identity is new, and its address is not verified.
        UnauthenticatedError: the account is disabled, or its tenant suspended.
    """

    async def work(session: AsyncSession) -> Granted | None:
        user = await _find(session, identity) or await _link(session, settings, identity)
        if user.disabled_at is not None:
            return None
        return await sessions.begin(session, settings, user, origin)

    granted = await HOME.in_transaction(work) if await admits(current()) else None
    if granted is None:
        audit("login.failed", provider=identity.provider, address=origin.address)
        raise UnauthenticatedError("This account is disabled")
    audit(
        "login.succeeded",
        user=str(granted.user.id),
        provider=identity.provider,
        address=origin.address,
    )
    return sessions.issue_pair(settings, granted)


async def _find(session: AsyncSession, identity: Identity) -> User | None:
    found: User | None = await session.scalar(
        select(User)
        .join(UserIdentity, UserIdentity.user_id == User.id)
        .where(UserIdentity.provider == identity.provider, UserIdentity.subject == identity.subject)
    )
    return found


async def _link(session: AsyncSession, settings: LocalSettings, identity: Identity) -> User:
    if identity.email is None:
        raise ForbiddenError(f"Verify your e-mail address at {identity.provider} first")
    user = await find_user(session, identity.email)
    if user is None:
        user = await add_newcomer(session, identity.email)
    else:
        send_after(session, letters.provider_linked(settings, user.email, identity.provider))
    session.add(UserIdentity(user_id=user.id, provider=identity.provider, subject=identity.subject))
    await session.flush()
    audit("identity.linked", user=str(user.id), provider=identity.provider)
    return user
