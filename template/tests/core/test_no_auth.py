"""Without a provider everything is open, and code that asks who calls still works."""

from fastapi import APIRouter, Depends
from httpx2 import AsyncClient

from app.config import Settings
from app.core.application import create_app
from app.core.auth import CurrentPrincipal, require_role, require_scope
from tests.core.plugin import caller_of

router = APIRouter()


@router.get("/whoami")
async def whoami(principal: CurrentPrincipal) -> str:
    return principal.subject


@router.get("/admins", dependencies=[Depends(require_role("admin"))])
async def admins() -> None:
    """Only for those with a role."""


@router.get("/readers", dependencies=[Depends(require_scope("read"))])
async def readers() -> None:
    """Only for those with a scope."""


async def test_everybody_is_anonymous_and_has_no_rights(settings: Settings) -> None:
    async with caller_of(create_app(settings, routers=[router])) as caller:
        assert (await caller.get("/api/v1/whoami")).json() == "anonymous"
        assert (await caller.get("/api/v1/admins")).status_code == 403
        assert (await caller.get("/api/v1/readers")).status_code == 403


async def test_there_is_nothing_to_sign_in_to(client: AsyncClient) -> None:
    assert (await client.get("/api/v1/auth/me")).status_code == 404
