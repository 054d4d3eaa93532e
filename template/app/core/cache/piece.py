"""How the cache attaches itself to the service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.core.cache.locks import keeping_locks
from app.core.cache.port import cache
from app.core.cache.stores.chosen import NEEDS, open_stores
from app.core.piece import Piece

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


@asynccontextmanager
async def _lifespan(_: "CoreSettings") -> AsyncIterator[None]:
    with open_stores() as (store, locks), cache.kept_in(store), keeping_locks(locks):
        yield


piece = Piece(name="cache", needs=NEEDS, lifespan=_lifespan)
