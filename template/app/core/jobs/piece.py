"""How jobs attach themselves to the service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.core.discovery import import_submodules
from app.core.jobs.backend import BACKEND
from app.core.jobs.outbox import OUTBOXES
from app.core.jobs.port import current_queue, sending_to
from app.core.jobs.task import TASKS
from app.core.piece import Check, Details, Piece

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


def find_tasks() -> None:
    """Import all modules of jobs, and check what their tasks need.

    Raises:
        RuntimeError: a task is to be done once, and its database has no outbox.
    """
    import_submodules("app.models")
    import_submodules("app.jobs")
    for task in TASKS.values():
        if task.once and task.database not in OUTBOXES:
            raise RuntimeError(
                f"the task {task.name!r} is to be done once, so the {task.database.name} needs an"
                " `Outbox`: see the README"
            )


@asynccontextmanager
async def _lifespan(settings: "CoreSettings") -> AsyncIterator[None]:
    find_tasks()
    async with BACKEND.connected(settings) as queue:
        with sending_to(queue):
            yield


async def _probe(_: "CoreSettings") -> Details:
    return await current_queue().look()


piece = Piece(
    name="jobs",
    needs=("database", "mail"),
    lifespan=_lifespan,
    checks=(Check(name="jobs", probe=_probe, required=False),),
)
