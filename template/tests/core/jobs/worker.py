"""A worker that knows the jobs of the tests: `python -m tests.core.jobs.worker`."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.config import Settings
from app.core.jobs import task
from app.core.jobs.worker import work
from app.core.settings import load_settings
from tests.core.jobs import tasks


@task(schedule=timedelta(seconds=1))
async def tick(session: AsyncSession) -> None:
    """Come each second."""
    await tasks.leave(session, "tick")


if __name__ == "__main__":
    tasks.own_outbox()
    work(load_settings(Settings))
