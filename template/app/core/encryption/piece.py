"""How encryption attaches itself to the service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from app.core.encryption.envelope import Keyring
from app.core.encryption.port import encryption
from app.core.piece import Piece

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

log = structlog.get_logger(logger_name="app.encryption")


@asynccontextmanager
async def _lifespan(settings: "CoreSettings") -> AsyncIterator[None]:
    keyring = Keyring(settings.master_keys)
    if settings.render_master_key_path is None:
        log.warning("columns are encrypted by a key that is made from SECRET_KEY, for development")
    else:
        log.info("master keys read", current=keyring.current, versions=keyring.versions)
    with encryption.using(keyring):
        yield


piece = Piece(name="encryption", lifespan=_lifespan)
