"""How Redis attaches itself to the service."""

from typing import TYPE_CHECKING

from app.core.piece import Check, Details, Piece
from app.core.redis.asking import link

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


async def _probe(_: "CoreSettings") -> Details:
    return await link.probe()


piece = Piece(
    name="redis",
    needs=("errors", "health"),
    lifespan=link.established,
    checks=(Check(name="redis", probe=_probe, required=False),),
)
