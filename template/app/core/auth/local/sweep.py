"""Forgetting what has expired: tokens, sessions and counts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.auth.local.models import HOME, Attempt, MailToken, UserSession
from app.core.auth.local.realms.realm import everywhere
from app.core.database.types import utc_now

log = structlog.get_logger(logger_name="app.auth")

INTERVAL_SECONDS = 300.0


async def sweep() -> None:
    """Delete what has expired."""

    async def work(session: AsyncSession) -> None:
        now = utc_now()
        for model in (MailToken, UserSession, Attempt):
            await session.execute(delete(model).where(model.expires_at <= now))

    with everywhere("sweep"):
        await HOME.in_transaction(work)


@asynccontextmanager
async def sweeping() -> AsyncIterator[None]:
    """Sweep from time to time until the block is left; several processes may do it at once."""
    leaving = asyncio.Event()
    task = asyncio.create_task(_sweep_until(leaving))
    try:
        yield
    finally:
        # Not cancelled: a connection that is just being made would never be closed.
        leaving.set()
        await task


async def _sweep_until(leaving: asyncio.Event) -> None:
    while not leaving.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(leaving.wait(), INTERVAL_SECONDS)
            return
        try:
            await sweep()
        except Exception:
            log.exception("nothing was swept")
