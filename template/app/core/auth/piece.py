"""How authentication attaches itself to the service."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends
from fastapi.params import Depends as Dependency
from starlette.middleware import Middleware

from app.core.auth.access import CurrentPrincipal
from app.core.auth.bearer import Bearer, TokenBeforeBody
from app.core.auth.provider import find_keys, token_rules
from app.core.auth.tokens import Verifier
from app.core.piece import Check, Details, Piece
from app.core.schemas import ResponseSchema
from app.core.web.routes import Router

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


class Me(ResponseSchema):
    """Who the token speaks for."""

    subject: str
    provider: str
    tenant: str | None
    roles: list[str]
    scopes: list[str]


async def get_me(principal: CurrentPrincipal) -> Me:
    """Read what the service knows of the caller."""
    return Me(
        subject=principal.subject,
        provider=principal.provider,
        tenant=principal.tenant,
        roles=sorted(principal.roles),
        scopes=sorted(principal.scopes),
    )


@asynccontextmanager
async def _lifespan(settings: "CoreSettings") -> AsyncIterator[None]:
    await find_keys(settings).refresh()
    yield


async def _probe(settings: "CoreSettings") -> Details:
    keys = find_keys(settings)
    await keys.refresh()
    if not keys.fresh:
        raise RuntimeError(f"the issuer's keys are old: {len(keys)} are known")
    return {"keys": len(keys)}


def _routers(settings: "CoreSettings") -> Sequence[APIRouter]:
    router = Router(prefix=f"{settings.api_v1_str}/auth", tags=["auth"])
    router.get("/me", name="me")(get_me)
    return [router]


def _bearer(settings: "CoreSettings") -> Bearer:
    return Bearer(Verifier(token_rules(settings), find_keys(settings)))


def _dependencies(settings: "CoreSettings") -> Sequence[Dependency]:
    return [Depends(_bearer(settings))]


def _middleware(settings: "CoreSettings") -> Sequence[Middleware]:
    return [Middleware(TokenBeforeBody, bearer=_bearer(settings))]


piece = Piece(
    name="auth",
    needs=("errors", "health"),
    lifespan=_lifespan,
    checks=(Check(name="auth", probe=_probe, required=False, timeout=1.0),),
    routers=_routers,
    dependencies=_dependencies,
    middleware=_middleware,
)
