"""Everybody may register; an account exists once its address is verified."""

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.audit import audit
from app.core.auth.local import letters, mail_tokens
from app.core.auth.local.directory import add_user, find_user
from app.core.auth.local.models import HOME, User
from app.core.auth.local.parts import check_registrant, may_mail, send_after
from app.core.auth.local.passwords import check_password, passwords
from app.core.auth.local.schemas import Body, Email, Password
from app.core.auth.local.sessions import Origin
from app.core.auth.local.settings import LocalSettings
from app.core.errors import ConflictError

__all__ = ["FURTHER_ROUTERS", "Registration", "add_newcomer", "register", "verify_email"]

FURTHER_ROUTERS: tuple[APIRouter, ...] = ()


class Registration(Body):
    """A new account."""

    email: Email
    password: Password


async def register(settings: LocalSettings, body: Registration, origin: Origin) -> None:
    """Begin an account; it exists as soon as the address is verified.

    The password stays with the token in the mail: whoever registers with an address of somebody
    else never gets an account that works once the owner has verified it.

    Raises:
        ValidationFailedError: the password is refused.
        RateLimitedError: too many mails were caused from there.
    """
    email, password = body.email, body.password.get_secret_value()
    check_password(password, email, settings.password_min_length)
    if not await may_mail(email, origin):
        return
    password_hash = await passwords(settings).hash(password)
    async with HOME.session_context() as session:
        user = await find_user(session, email)
        if user is None:
            token = await mail_tokens.issue(session, "register", email, password_hash=password_hash)
            send_after(session, letters.verify_address(settings, email, token))
        elif user.disabled_at is None:
            token = await mail_tokens.issue(session, "reset", email, user_id=user.id)
            send_after(session, letters.registered_already(settings, user.email, token))


async def verify_email(settings: LocalSettings, token: str, password: str, origin: Origin) -> None:
    """Make an account of a registration.

    Raises:
        BadRequestError: the token is not valid.
        ForbiddenError: the password is not the one of the registration.
        ConflictError: the address has an account meanwhile.
        RateLimitedError: too many tries.
    """
    await check_registrant(settings, token, password, origin)
    async with HOME.session_context() as session:
        registration = await mail_tokens.take(session, "register", token)
        if await find_user(session, registration.email) is not None:
            raise ConflictError("There is an account with this address already: sign in")
        user = await add_user(session, registration.email, registration.password_hash)
        # Others may have registered with this address too: their passwords count no more.
        await mail_tokens.withdraw(session, "register", registration.email)
    audit("user.registered", user=str(user.id))


async def add_newcomer(session: AsyncSession, email: str) -> User:
    """Make an account for somebody whom another provider has named, address and all."""
    user = await add_user(session, email, password_hash=None)
    await mail_tokens.withdraw(session, "register", email)
    return user
