"""How tenancy attaches itself to the service."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.params import Depends as Dependency
from starlette.requests import HTTPConnection

from app.core import context
from app.core.auth import CurrentPrincipal
from app.core.auth.access import is_public
from app.core.errors import NotFoundError
from app.core.piece import Check, Details, Piece
from app.core.schemas import ResponseSchema
from app.core.tenancy.directory import directory
from app.core.tenancy.models import Tenant
from app.core.tenancy.owned import HOME
from app.core.tenancy.scope import current_tenant, tenant_of
from app.core.tenancy.third_net import check_database
from app.core.web.routes import Router

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


class TenantRead(ResponseSchema):
    """The tenant that the caller belongs to."""

    id: UUID
    slug: str
    name: str


async def get_tenant(_: CurrentPrincipal) -> Tenant:
    """Read the caller's tenant."""
    async with HOME.read_session_context(fresh=True) as session:
        tenant = await session.get(Tenant, current_tenant())
    if tenant is None or tenant.is_deleted:
        raise NotFoundError("There is no such tenant any more")
    return tenant


class AdmitTenant:
    """The dependency of every endpoint: keeps unknown and suspended tenants out."""

    def __init__(self, *, create: bool) -> None:
        self.create = create

    async def __call__(self, request: HTTPConnection) -> None:
        """Let the caller's tenant in.

        Raises:
            ForbiddenError: it is unknown or suspended.
        """
        principal = context.principal.get()
        if principal is None or is_public(request.scope["endpoint"]):
            return
        if tenant := tenant_of(principal):
            await directory.admit(tenant, principal, create=self.create)


@asynccontextmanager
async def _lifespan(_: "CoreSettings") -> AsyncIterator[None]:
    await check_database(at_start=True)
    yield


async def _probe(_: "CoreSettings") -> Details:
    return await check_database(at_start=False)


def _routers(settings: "CoreSettings") -> Sequence[APIRouter]:
    router = Router(prefix=f"{settings.api_v1_str}/tenant", tags=["tenant"])
    router.get("", name="get_tenant", response_model=TenantRead)(get_tenant)
    return [router]


def _dependencies(settings: "CoreSettings") -> Sequence[Dependency]:
    return [Depends(AdmitTenant(create=settings.tenant_auto_create))]


piece = Piece(
    name="tenancy",
    needs=("auth", "database"),
    lifespan=_lifespan,
    checks=(Check(name="tenancy", probe=_probe),),
    routers=_routers,
    dependencies=_dependencies,
)
