"""How mails attach themselves to the service."""

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from app.core.mail.delivery import delivery
from app.core.mail.outbox import sending
from app.core.piece import Piece

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


def _lifespan(settings: "CoreSettings") -> AbstractAsyncContextManager[None]:
    return sending(delivery(settings))


piece = Piece(name="mail", lifespan=_lifespan)
