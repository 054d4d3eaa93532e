"""How users change their e-mail addresses.

As everywhere here, nobody learns who has an account: whoever wants the address of somebody else
gets the same answer, and as many mails are sent.
"""

import uuid

from app.core.audit import audit
from app.core.auth.local import letters, mail_tokens, sessions
from app.core.auth.local.accounts import lock, prove
from app.core.auth.local.directory import find_user
from app.core.auth.local.models import HOME, User
from app.core.auth.local.parts import may_mail, send_after
from app.core.auth.local.realms.realm import current
from app.core.auth.local.sessions import Origin
from app.core.auth.local.settings import LocalSettings
from app.core.errors import ConflictError


async def ask_for_change(
    settings: LocalSettings, user_id: uuid.UUID, password: str, email: str, origin: Origin
) -> None:
    """Send a mail to the new address, whose reader can confirm it, and tell the present one.

    Raises:
        ForbiddenError: the password is another one.
        ConflictError: it was changed meanwhile.
        RateLimitedError: too many attempts, or too many mails were caused from there.
    """
    proven = await prove(settings, user_id, password, origin, to_change="email")
    if not await may_mail(email, origin):
        return
    async with HOME.session_context() as session:
        user = await lock(session, proven)
        taken = await find_user(session, email) is not None
        await mail_tokens.withdraw_of(session, "email", user.id)
        token = await mail_tokens.issue(
            session, "nothing" if taken else "email", email, user_id=user.id, realm=current()
        )
        letter = (
            letters.address_taken(settings, email)
            if taken
            else letters.confirm_address(settings, email, token)
        )
        send_after(session, letter)
        send_after(session, letters.address_is_to_change(settings, user.email))
    audit("email.change_asked", user=str(user.id), address=origin.address)


async def confirm_change(settings: LocalSettings, user_id: uuid.UUID, token: str) -> None:
    """Give a user the address to which a token was sent; all sessions end.

    It takes both: a mistyped address is read by a stranger, who must not get the account.

    Raises:
        BadRequestError: the token is not valid, or not this user's.
        ConflictError: the address has an account meanwhile.
    """
    async with HOME.read_session_context(fresh=True) as reading:
        seen = await mail_tokens.find(reading, "email", token)
    if seen.user_id != user_id:
        raise mail_tokens.not_valid()
    async with HOME.session_context() as session:
        taken = await mail_tokens.take(session, "email", token)
        user: User | None = await session.get(User, taken.user_id, with_for_update=True)
        if user is None or user.disabled_at is not None:
            raise mail_tokens.not_valid()
        if await find_user(session, taken.email) is not None:
            raise ConflictError("There is an account with this address already")
        before, user.email = user.email, taken.email
        await sessions.end_all(session, user.id)
        await mail_tokens.withdraw(session, "reset", before)
        send_after(session, letters.address_changed(settings, before))
    audit("email.changed", user=str(user.id))
