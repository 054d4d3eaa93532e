"""What surrounds a transaction: trying again, and what must happen only once it is committed."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import stamina
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.session import get_session_context

ResultT = TypeVar("ResultT")


def is_conflict(error: Exception) -> bool:
    """Whether a transaction lost against another one, and may win when it is tried again."""
    return isinstance(error, DBAPIError) and FLAVOUR.lost_conflict(error)


async def in_transaction(
    work: Callable[[AsyncSession], Awaitable[ResultT]], *, attempts: int = 3
) -> ResultT:
    """Do a piece of work in a transaction of its own; again, when it loses against another one.

    Args:
        work: called with a new session each time, so it must do all of its reading itself.
        attempts: how often it is tried.

    Raises:
        DBAPIError: it lost every time.
    """
    async for attempt in stamina.retry_context(
        on=is_conflict, attempts=attempts, wait_initial=0.02, wait_max=0.5
    ):
        with attempt:
            async with get_session_context() as session:
                return await work(session)
    raise AssertionError("stamina raises when it gives up")
