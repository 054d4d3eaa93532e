"""Registering founds a tenant; its further users are invited.

Nobody joins a tenant by naming it.
"""

import uuid

from fastapi import APIRouter
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.audit import audit
from app.core.auth.local import letters, mail_tokens
from app.core.auth.local.directory import add_role, add_user
from app.core.auth.local.models import HOME, User
from app.core.auth.local.parts import check_registrant, may_mail, send_after
from app.core.auth.local.passwords import check_password, passwords
from app.core.auth.local.realms.invitations import router
from app.core.auth.local.realms.tenants import Slug, entered, find_tenant
from app.core.auth.local.schemas import Body, Email, Password, Title
from app.core.auth.local.sessions import Origin
from app.core.auth.local.settings import LocalSettings
from app.core.errors import ConflictError, ForbiddenError
from app.core.tenancy.models import Tenant

__all__ = ["FURTHER_ROUTERS", "Registration", "add_newcomer", "register", "verify_email"]

FURTHER_ROUTERS: tuple[APIRouter, ...] = (router,)
OWNER = "owner"


class Registration(Body):
    """A new tenant, and its owner's account."""

    tenant: Slug
    tenant_name: Title
    email: Email
    password: Password


async def register(settings: LocalSettings, body: Registration, origin: Origin) -> None:
    """Begin a tenant and an account in it; both exist as soon as the address is verified.

    Raises:
        ValidationFailedError: the password is refused.
        ConflictError: the slug is taken. That is no secret: it is what users sign in with.
        RateLimitedError: too many mails were caused from there.
    """
    email, password = body.email, body.password.get_secret_value()
    check_password(password, email, settings.password_min_length)
    if await find_tenant(body.tenant) is not None:
        raise _taken()
    if not await may_mail(email, origin):
        return
    password_hash = await passwords(settings).hash(password)
    async with HOME.session_context() as session:
        remembered = {"slug": body.tenant, "name": body.tenant_name}
        token = await mail_tokens.issue(
            session, "register", email, password_hash=password_hash, remembered=remembered
        )
        send_after(session, letters.verify_address(settings, email, token))


async def verify_email(settings: LocalSettings, token: str, password: str, origin: Origin) -> None:
    """Make a tenant and an account of a registration.

    Raises:
        BadRequestError: the token is not valid.
        ForbiddenError: the password is not the one of the registration.
        ConflictError: the slug was taken meanwhile.
        RateLimitedError: too many tries.
    """
    await check_registrant(settings, token, password, origin)
    tenant_id = uuid.uuid4()
    try:
        with entered(tenant_id):
            async with HOME.session_context() as session:
                registration = await mail_tokens.take(session, "register", token)
                session.add(Tenant(id=tenant_id, **registration.remembered))
                await session.flush()
                user = await add_user(session, registration.email, registration.password_hash)
                await add_role(session, user.id, OWNER)
                # Others may have registered with this address too: their passwords count no more.
                await mail_tokens.withdraw(session, "register", registration.email)
    except IntegrityError:
        raise _taken() from None
    audit("user.registered", user=str(user.id), tenant=str(tenant_id))


def _taken() -> ConflictError:
    return ConflictError("This slug is taken: choose another")


async def add_newcomer(_session: AsyncSession, _email: str) -> User:
    """Refuse somebody whom another provider has named, and who was not invited.

    Raises:
        ForbiddenError: always.
    """
    raise ForbiddenError("There is no account with this address here: ask for an invitation")
