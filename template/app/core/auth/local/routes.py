"""The endpoints of the service's own sign-in."""

import uuid

from fastapi import Depends, Response, status

from app.core.auth.access import CurrentPrincipal, OptionalPrincipal, public
from app.core.auth.local import accounts, addresses, sessions
from app.core.auth.local.keys import OwnKeys
from app.core.auth.local.models import HOME
from app.core.auth.local.parts import OriginDep, SettingsDep
from app.core.auth.local.realms import joining
from app.core.auth.local.realms.realm import entered, find_named
from app.core.auth.local.schemas import (
    Accepted,
    Confirmation,
    EmailChange,
    Forgotten,
    KeySet,
    Login,
    PasswordChange,
    PasswordReset,
    Refresh,
    SessionList,
    SessionRead,
    Tokens,
    Verification,
)
from app.core.auth.local.sessions import Pair
from app.core.auth.principal import Principal
from app.core.errors import BadRequestError
from app.core.web.routes import Router

KEYS_PATH = "/.well-known/jwks.json"
KEYS_ARE_KEPT = "public, max-age=300"


async def never_store(response: Response) -> None:
    """Keep tokens out of caches (RFC 6749, 5.1)."""
    response.headers["Cache-Control"] = "no-store"


router = Router(tags=["auth"], dependencies=[Depends(never_store)])
keys_router = Router(tags=["auth"])


@keys_router.get(KEYS_PATH)
@public
async def get_keys(settings: SettingsDep, response: Response) -> KeySet:
    """Read the keys that the tokens of this service are verified with."""
    response.headers["Cache-Control"] = KEYS_ARE_KEPT
    return KeySet(keys=OwnKeys(settings).published())


# --- accounts ---


@router.post("/register", status_code=status.HTTP_202_ACCEPTED)
@public
async def register(
    body: joining.Registration, settings: SettingsDep, origin: OriginDep
) -> Accepted:
    """Begin an account. The answer never tells whether there is one: a mail does."""
    await joining.register(settings, body, origin)
    return Accepted(detail="A mail is on its way: follow its link")


@router.post("/verify-email", status_code=status.HTTP_204_NO_CONTENT)
@public
async def verify_email(body: Verification, settings: SettingsDep, origin: OriginDep) -> None:
    """Finish a registration with the token from the mail and the password that was chosen."""
    token, password = body.token.get_secret_value(), body.password.get_secret_value()
    await joining.verify_email(settings, token, password, origin)


@router.post("/password/forgot", status_code=status.HTTP_202_ACCEPTED)
@public
async def forgot_password(body: Forgotten, settings: SettingsDep, origin: OriginDep) -> Accepted:
    """Ask for a mail to choose a new password. The answer never tells whether there is a user."""
    with entered(await find_named(body)):
        await accounts.forgot_password(settings, body.email, origin)
    return Accepted(detail="A mail is on its way: follow its link")


@router.post("/password/reset", status_code=status.HTTP_204_NO_CONTENT)
@public
async def reset_password(body: PasswordReset, settings: SettingsDep, origin: OriginDep) -> None:
    """Choose a new password with the token from the mail; all sessions end."""
    token, password = body.token.get_secret_value(), body.password.get_secret_value()
    await accounts.reset_password(settings, token, password, origin)


@router.post("/password/change", response_model=Tokens)
async def change_password(
    body: PasswordChange, principal: CurrentPrincipal, settings: SettingsDep, origin: OriginDep
) -> Pair:
    """Replace the password; all sessions end, and a new one begins."""
    old, new = body.current_password.get_secret_value(), body.new_password.get_secret_value()
    return await accounts.change_password(settings, user_of(principal), old, new, origin)


@router.post("/email/change", status_code=status.HTTP_202_ACCEPTED)
async def change_email(
    body: EmailChange, principal: CurrentPrincipal, settings: SettingsDep, origin: OriginDep
) -> Accepted:
    """Ask for another e-mail address. The answer never tells whether somebody has it already."""
    password = body.current_password.get_secret_value()
    user_id = user_of(principal)
    await addresses.ask_for_change(settings, user_id, password, body.new_email, origin)
    return Accepted(detail="A mail is on its way to the new address: follow its link")


@router.post("/email/confirm", status_code=status.HTTP_204_NO_CONTENT)
async def confirm_email(
    body: Confirmation, principal: CurrentPrincipal, settings: SettingsDep
) -> None:
    """Take the new address with the token from the mail, as who asked for it; all sessions end."""
    token = body.token.get_secret_value()
    await addresses.confirm_change(settings, user_of(principal), token)


# --- sessions ---


@router.post("/login", response_model=Tokens)
@public
async def login(body: Login, settings: SettingsDep, origin: OriginDep) -> Pair:
    """Sign in with e-mail address and password."""
    with entered(await find_named(body)):
        return await accounts.login(settings, body.email, body.password.get_secret_value(), origin)


@router.post("/refresh", response_model=Tokens)
@public
async def refresh(body: Refresh, settings: SettingsDep) -> Pair:
    """Swap a refresh token for a new pair. It works once: using it again ends the session.

    409 says that another request has swapped it this very moment: use the pair which that one got.
    """
    return await sessions.refresh(settings, body.refresh_token.get_secret_value())


@router.post("/logout", status_code=status.HTTP_204_NO_CONTENT)
@public
async def logout(
    principal: OptionalPrincipal, settings: SettingsDep, body: Refresh | None = None
) -> None:
    """End the session of the refresh token, or else that of the access token."""
    if body is not None:
        await sessions.end_by_token(settings, body.refresh_token.get_secret_value())
    elif principal is not None:
        async with HOME.session_context() as session:
            await sessions.end_quietly(session, user_of(principal), session_of(principal))
    else:
        raise BadRequestError("Send the refresh token, or an access token")


@router.post("/logout-all", status_code=status.HTTP_204_NO_CONTENT)
async def logout_all(principal: CurrentPrincipal) -> None:
    """End all sessions of the caller, on all devices."""
    async with HOME.session_context() as session:
        await sessions.end_all(session, user_of(principal))


@router.get("/sessions")
async def list_sessions(principal: CurrentPrincipal) -> SessionList:
    """Read the sessions of the caller."""
    current = session_of(principal)
    async with HOME.read_session_context(fresh=True) as session:
        found = await sessions.list_of(session, user_of(principal))
    items = [SessionRead.model_validate(each) for each in found]
    return SessionList(
        items=[each.model_copy(update={"current": each.id == current}) for each in items]
    )


@router.delete("/sessions/{session_id}", status_code=status.HTTP_204_NO_CONTENT)
async def end_session(session_id: uuid.UUID, principal: CurrentPrincipal) -> None:
    """End one session of the caller."""
    async with HOME.session_context() as session:
        await sessions.end(session, user_of(principal), session_id)


def user_of(principal: Principal) -> uuid.UUID:
    """The id of the user for whom a token speaks.

    Raises:
        ForbiddenError: it speaks for somebody else, such as a machine.
    """
    try:
        return uuid.UUID(principal.subject)
    except ValueError:
        raise accounts.not_a_user() from None


def session_of(principal: Principal) -> uuid.UUID | None:
    """The id of the session to which a token belongs, if any."""
    try:
        return uuid.UUID(str(principal.claims.get("sid")))
    except ValueError:
        return None
