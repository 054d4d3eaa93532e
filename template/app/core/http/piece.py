"""How calls to other services attach themselves to this one."""

from typing import TYPE_CHECKING

from app.core.http.counters import counts_of
from app.core.http.upstream import calling, states
from app.core.piece import Check, Details, Piece

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


async def _report(_: "CoreSettings") -> Details:
    """Tell of every upstream; whether one of them is missed, its users know, and not `/ready`."""
    return {
        name: {"breaker": state.value, "calls": counts_of(name)} for name, state in states().items()
    }


piece = Piece(
    name="http",
    lifespan=calling,
    checks=(Check(name="upstreams", probe=_report, required=False),),
)
