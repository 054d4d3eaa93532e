"""How secrets attach themselves to the service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.core.piece import Piece
from app.core.secrets.port import secrets
from app.core.secrets.store import CHECKS, open_store

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


@asynccontextmanager
async def _lifespan(settings: "CoreSettings") -> AsyncIterator[None]:
    with secrets.given_by(settings):
        async with open_store(settings, secrets.take_up) as store:
            secrets.use(store)
            yield


piece = Piece(name="secrets", lifespan=_lifespan, checks=CHECKS)
