"""What users do with their accounts: sign in, choose passwords.

Nobody learns here who has an account: answers are the same for addresses that are known and for
those that are not, as much is computed and stored for them, and only a mail tells the owner.
"""

import uuid

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.audit import audit
from app.core.auth.local import letters, mail_tokens, sessions, throttle
from app.core.auth.local.directory import find_user
from app.core.auth.local.models import HOME, User
from app.core.auth.local.parts import account_key, count_mail, count_try, send_after
from app.core.auth.local.passwords import Verdict, check_password, passwords
from app.core.auth.local.realms.realm import current, entered
from app.core.auth.local.sessions import Granted, Origin, Pair
from app.core.auth.local.settings import LocalSettings
from app.core.database.types import uuid7
from app.core.errors import ConflictError, ForbiddenError, UnauthenticatedError

# --- signing in ---


async def login(settings: LocalSettings, email: str, password: str, origin: Origin) -> Pair:
    """Sign a user in by a password.

    Raises:
        UnauthenticatedError: address or password are wrong; nobody learns which.
        RateLimitedError: too many attempts.
    """
    place = throttle.network(origin.address)
    name = account_key(email)
    pair, address = await throttle.count(
        (throttle.PAIR, f"{name}|{place}"), (throttle.ADDRESS, place)
    )
    for each in (pair, address):
        if each.exceeded:
            raise each.refuse()
    # Not before: one address that goes on and on would use up everybody's tries of the account.
    [account] = await throttle.count((throttle.ACCOUNT, name))
    async with HOME.read_session_context(fresh=True) as reading:
        user = await find_user(reading, email)
        identifier = user.id if user else uuid7()
        known = await sessions.is_known(reading, identifier, origin.address)
    if account.exceeded and not known:
        raise account.refuse()

    verdict = await _verify(settings, user, password)
    granted = None
    if user is not None and verdict.right:

        async def work(session: AsyncSession) -> Granted | None:
            current = await _unchanged(session, user)
            if current is None:
                return None
            current.password_hash = verdict.new_hash or current.password_hash
            await throttle.forget(session, throttle.PAIR, f"{name}|{place}")
            await throttle.forgive(session, address, account)
            return await sessions.begin(session, settings, current, origin)

        granted = await HOME.in_transaction(work)
    if granted is None:
        audit("login.failed", user=str(user.id) if user else None, address=origin.address)
        raise UnauthenticatedError("The e-mail address or the password is wrong")
    audit("login.succeeded", user=str(granted.user.id), address=origin.address)
    return sessions.issue_pair(settings, granted)


async def _verify(settings: LocalSettings, user: User | None, password: str) -> Verdict:
    stored = None if user is None or user.disabled_at is not None else user.password_hash
    return await passwords(settings).verify(password, stored)


async def _unchanged(session: AsyncSession, seen: User) -> User | None:
    """Lock a user, unless the password was changed while it was being verified."""
    current: User | None = await session.get(User, seen.id, with_for_update=True)
    if current is None or current.disabled_at or current.password_hash != seen.password_hash:
        return None
    return current


# --- passwords ---


async def forgot_password(settings: LocalSettings, email: str, origin: Origin) -> None:
    """Send a mail by which its reader can choose a new password, if there is an account.

    Raises:
        RateLimitedError: too many mails were caused from there.
    """
    async with HOME.read_session_context(fresh=True) as reading:
        found = await find_user(reading, email)
    user = found if found is not None and found.disabled_at is None else None
    limit, who = (throttle.RESETS, account_key(email)) if user else (throttle.MAILS, email)
    wanted = await count_mail(origin, limit, who)
    # Also for a mail too many: how long the answer takes tells nothing.
    async with HOME.session_context() as session:
        if user is None:
            await mail_tokens.issue(session, "nothing", email, realm=current())
            letter = letters.no_account(settings, email)
        else:
            token = await mail_tokens.issue(
                session, "reset", email, user_id=user.id, realm=current()
            )
            letter = letters.reset_password(settings, user.email, token)
        if wanted:
            send_after(session, letter)


async def reset_password(
    settings: LocalSettings, token: str, password: str, origin: Origin
) -> None:
    """Choose a new password by a token from a mail; all sessions end.

    Raises:
        BadRequestError: the token is not valid.
        ValidationFailedError: the password is refused; the token stays valid.
        RateLimitedError: too many tries.
    """
    async with HOME.read_session_context(fresh=True) as reading:
        seen = await mail_tokens.find(reading, "reset", token)
    check_password(password, seen.email, settings.password_min_length)
    place = await count_try(token, origin)
    password_hash = await passwords(settings).hash(password)
    with entered(seen.realm_id):
        async with HOME.session_context() as session:
            taken = await mail_tokens.take(session, "reset", token)
            user: User | None = await session.get(User, taken.user_id, with_for_update=True)
            if user is None or user.disabled_at is not None:
                raise mail_tokens.not_valid()
            # Whoever asked for it may have done so while the address changed.
            if user.email != taken.email:
                raise mail_tokens.not_valid()
            await _set_password(session, settings, user, password_hash)
            name = account_key(user.email)
            await throttle.forget(session, throttle.ACCOUNT, name)
            await throttle.forget(
                session, throttle.PAIR, f"{name}|{throttle.network(origin.address)}"
            )
            await throttle.forgive(session, place)
    audit("password.reset", user=str(user.id))


async def change_password(
    settings: LocalSettings, user_id: uuid.UUID, old: str, new: str, origin: Origin
) -> Pair:
    """Replace a password; all sessions end, and a new one begins.

    Raises:
        ForbiddenError: the present password is another one.
        ValidationFailedError: the new password is refused.
        RateLimitedError: too many attempts.
    """
    user = await prove(settings, user_id, old, origin, to_change="password")
    check_password(new, user.email, settings.password_min_length)
    password_hash = await passwords(settings).hash(new)
    async with HOME.session_context() as session:
        current = await lock(session, user)
        await _set_password(session, settings, current, password_hash)
        granted = await sessions.begin(session, settings, current, origin)
    audit("password.changed", user=str(user.id))
    return sessions.issue_pair(settings, granted)


async def prove(
    settings: LocalSettings, user_id: uuid.UUID, password: str, origin: Origin, *, to_change: str
) -> User:
    """Make sure that whoever wants to change an account knows its password.

    Raises:
        ForbiddenError: the present password is another one.
        RateLimitedError: too many attempts.
    """
    async with HOME.read_session_context(fresh=True) as reading:
        user = await reading.get(User, user_id)
        known = await sessions.is_known(reading, user_id, origin.address)
    if user is None:
        raise not_a_user()
    name, place = account_key(user.email), throttle.network(origin.address)
    [pair] = await throttle.count((throttle.PAIR, f"{name}|{place}"))
    if pair.exceeded:
        raise pair.refuse()
    [account] = await throttle.count((throttle.ACCOUNT, name))
    if account.exceeded and not known:
        raise account.refuse()
    verdict = await _verify(settings, user, password)
    if not verdict.right:
        audit(f"{to_change}.change_failed", user=str(user.id), address=origin.address)
        raise ForbiddenError("The present password is another one")
    async with HOME.session_context() as session:
        await throttle.forgive(session, pair, account)
    return user


async def lock(session: AsyncSession, proven: User) -> User:
    """Lock a user whose password was proven.

    Raises:
        ConflictError: it was changed meanwhile.
    """
    current = await _unchanged(session, proven)
    if current is None:
        raise ConflictError("The password was changed meanwhile")
    return current


async def _set_password(
    session: AsyncSession, settings: LocalSettings, user: User, password_hash: str
) -> None:
    user.password_hash = password_hash
    await sessions.end_all(session, user.id)
    await mail_tokens.withdraw(session, "reset", user.email)
    await mail_tokens.withdraw_of(session, "email", user.id)
    send_after(session, letters.password_changed(settings, user.email))


# --- parts ---


def not_a_user() -> ForbiddenError:
    """Say that a token speaks for nobody in the database (any more)."""
    return ForbiddenError("The token is not of a user of this service")
