"""How jobs attach themselves to the service."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from app.core.jobs.backend import BACKEND
from app.core.jobs.finding import find_tasks
from app.core.jobs.port import current_queue, sending_to
from app.core.piece import Check, Details, Piece

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


@asynccontextmanager
async def _lifespan(settings: "CoreSettings") -> AsyncIterator[None]:
    find_tasks()
    # Jobs of this process come to their end when the queue does, and may send others until then.
    with ExitStack() as sending:
        async with BACKEND.connected(settings) as queue:
            sending.enter_context(sending_to(queue))
            yield


async def _probe(_: "CoreSettings") -> Details:
    return await current_queue().look()


piece = Piece(
    name="jobs",
    needs=("database", "mail"),
    lifespan=_lifespan,
    checks=(Check(name="jobs", probe=_probe, required=False),),
)
