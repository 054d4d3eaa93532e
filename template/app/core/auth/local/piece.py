"""How the service's own sign-in attaches itself to the service."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from fastapi import APIRouter

from app.core.auth.local.oauth.routes import oauth_router
from app.core.auth.local.realms.joining import FURTHER_ROUTERS
from app.core.auth.local.routes import keys_router, router
from app.core.auth.local.sweep import sweeping
from app.core.piece import Piece
from app.core.web.routes import Router

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


def _routers(settings: "CoreSettings") -> Sequence[APIRouter]:
    versioned = Router(prefix=f"{settings.api_v1_str}/auth")
    versioned.include_router(router)
    versioned.include_router(oauth_router(settings))
    for further in FURTHER_ROUTERS:
        versioned.include_router(further)
    return [keys_router, versioned]


def _lifespan(_: "CoreSettings") -> AbstractAsyncContextManager[None]:
    return sweeping()


piece = Piece(
    name="local_auth",
    needs=("auth", "database", "mail"),
    lifespan=_lifespan,
    routers=_routers,
)
