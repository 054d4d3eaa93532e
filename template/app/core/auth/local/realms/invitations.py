"""Invitations: how users join a tenant that is there already."""

from typing import Literal

from fastapi import Depends, status

from app.core.audit import audit
from app.core.auth.access import CurrentPrincipal, public, require_role
from app.core.auth.local import letters, mail_tokens, throttle
from app.core.auth.local.directory import add_role, add_user, find_user
from app.core.auth.local.models import HOME
from app.core.auth.local.parts import (
    OriginDep,
    SettingsDep,
    count_try,
    may_mail,
    send_after,
)
from app.core.auth.local.passwords import check_password, passwords
from app.core.auth.local.realms.tenants import entered
from app.core.auth.local.schemas import Accepted, Body, Email, MailedToken, Password
from app.core.auth.principal import Principal
from app.core.errors import ConflictError, ForbiddenError
from app.core.tenancy.models import Tenant
from app.core.tenancy.scope import current_tenant
from app.core.web.routes import Router

router = Router(prefix="/invitations", tags=["auth"])

InvitedRole = Literal["member", "manager"]
"""Not `admin`: that is the service's operator, who is made by the command only. Anybody may found a
tenant, and whatever its owner can give away, everybody can have."""
INVITING = ("owner", "manager", "admin")
"""Who may invite. Managers invite members only."""


class Invitation(Body):
    """Whom to invite, and as what."""

    email: Email
    role: InvitedRole = "member"


class Acceptance(Body):
    """What the mail brought, and the password of the new account."""

    token: MailedToken
    password: Password


@router.post(
    "", status_code=status.HTTP_202_ACCEPTED, dependencies=[Depends(require_role(*INVITING))]
)
async def invite(
    body: Invitation, principal: CurrentPrincipal, settings: SettingsDep, origin: OriginDep
) -> Accepted:
    """Invite somebody into the caller's tenant; only owners invite managers."""
    _check_rights(principal, body.role)
    async with HOME.read_session_context(fresh=True) as reading:
        tenant = await reading.get(Tenant, current_tenant())
        if tenant is None or tenant.suspended_at is not None:
            raise ForbiddenError("This tenant is suspended or gone")
        if await find_user(reading, body.email) is not None:
            raise ConflictError("There is a user with this address already")
    if await may_mail(body.email, origin):
        async with HOME.session_context() as session:
            # The newest invitation counts: it may be as something else.
            await mail_tokens.withdraw(session, "invite", body.email)
            token = await mail_tokens.issue(
                session,
                "invite",
                body.email,
                realm=tenant.id,
                remembered={"role": body.role},
            )
            send_after(session, letters.invitation(settings, body.email, token, tenant.name))
        audit("user.invited", role=body.role, tenant=str(tenant.id))
    return Accepted(detail="A mail is on its way")


def _check_rights(principal: Principal, role: InvitedRole) -> None:
    if role == "manager" and principal.roles.isdisjoint({"owner", "admin"}):
        raise ForbiddenError("Only an owner invites managers")


@router.post("/accept", status_code=status.HTTP_204_NO_CONTENT)
@public
async def accept(body: Acceptance, settings: SettingsDep, origin: OriginDep) -> None:
    """Make the account to which the mail has invited."""
    text, password = body.token.get_secret_value(), body.password.get_secret_value()
    async with HOME.read_session_context(fresh=True) as reading:
        seen = await mail_tokens.find(reading, "invite", text)
    check_password(password, seen.email, settings.password_min_length)
    place = await count_try(text, origin)
    password_hash = await passwords(settings).hash(password)
    with entered(seen.realm_id):
        async with HOME.session_context() as session:
            invitation = await mail_tokens.take(session, "invite", text)
            tenant = await session.get(Tenant, current_tenant())
            if tenant is None or tenant.suspended_at is not None:
                raise mail_tokens.not_valid()
            if await find_user(session, invitation.email) is not None:
                raise ConflictError("There is an account with this address already: sign in")
            user = await add_user(session, invitation.email, password_hash)
            await add_role(session, user.id, invitation.remembered["role"])
            await throttle.forgive(session, place)
    audit("user.joined", user=str(user.id), tenant=str(tenant.id))
