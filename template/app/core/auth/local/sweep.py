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
    task = asyncio.create_task(_sweep_for_ever())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _sweep_for_ever() -> None:
    while True:
        await asyncio.sleep(INTERVAL_SECONDS)
        try:
            await sweep()
        except Exception:
            log.exception("nothing was swept")
