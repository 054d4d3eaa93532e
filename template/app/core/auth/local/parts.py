"""What several endpoints need."""

from functools import partial
from typing import Annotated, cast

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.auth.local import mail_tokens, throttle
from app.core.auth.local.models import HOME
from app.core.auth.local.passwords import passwords
from app.core.auth.local.realms.realm import current
from app.core.auth.local.sessions import Origin
from app.core.auth.local.settings import LocalSettings
from app.core.database.handle import after_commit
from app.core.errors import ForbiddenError
from app.core.mail import Mail, send


async def get_settings(request: Request) -> LocalSettings:
    """The settings of the application: a dependency."""
    return cast("LocalSettings", request.app.state.settings)


async def get_origin(request: Request) -> Origin:
    """Where the request comes from: a dependency."""
    address = request.client.host if request.client else "unknown"
    return Origin(address, request.headers.get("user-agent", ""))


SettingsDep = Annotated[LocalSettings, Depends(get_settings)]
OriginDep = Annotated[Origin, Depends(get_origin)]


def account_key(email: str) -> str:
    """Name an account, or what might be one."""
    return f"{current()}|{email}"


async def may_mail(email: str, origin: Origin) -> bool:
    """Count a mail; whether one more may be sent to this address.

    Raises:
        RateLimitedError: too many were caused from there.
    """
    return await count_mail(origin, throttle.MAILS, email)


async def count_mail(origin: Origin, limit: throttle.Limit, who: str) -> bool:
    """Count a mail, and whether one more may be sent.

    Raises:
        RateLimitedError: too many were caused from there.
    """
    place = throttle.network(origin.address)
    caused, received = await throttle.count((throttle.MAILERS, place), (limit, who))
    if caused.exceeded:
        raise caused.refuse()
    return not received.exceeded


async def count_try(token: str, origin: Origin) -> throttle.Count:
    """Count a try of a token from a mail, which is to cost a hash.

    Returns:
        What was counted of where it comes from: to be forgiven when the try was a good one.

    Raises:
        RateLimitedError: too many tries of it, or from there.
    """
    tried, place = await throttle.count(
        (throttle.TOKEN, mail_tokens.digest(token)),
        (throttle.ADDRESS, throttle.network(origin.address)),
    )
    for each in (tried, place):
        if each.exceeded:
            raise each.refuse()
    return place


async def check_registrant(
    settings: LocalSettings, token: str, password: str, origin: Origin
) -> None:
    """Make sure that whoever follows the link in a mail has chosen the password himself.

    Somebody else may have registered with the same address, and waits for its owner to follow the
    wrong one of two mails.

    Raises:
        BadRequestError: the token is not valid.
        ForbiddenError: the password is another one.
        RateLimitedError: too many tries.
    """
    async with HOME.read_session_context(fresh=True) as reading:
        registration = await mail_tokens.find(reading, "register", token)
    place = await count_try(token, origin)
    verdict = await passwords(settings).verify(password, registration.password_hash)
    if not verdict.right:
        raise ForbiddenError("This registration has another password: follow the link of yours")
    async with HOME.session_context() as session:
        await throttle.forgive(session, place)


def send_after(session: AsyncSession, mail: Mail) -> None:
    """Send a mail once what it speaks of is stored."""
    after_commit(session, partial(send, mail))
