"""A worker whose first processes do not start: `python -m tests.core.jobs.failing`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import gettempdir

from app.config import Settings
from app.core.application import started
from app.core.jobs.backends.celery import BACKEND
from app.core.logging import configure_logging
from app.core.settings import load_settings

FAILURES = (ValueError("the first cannot start"), SystemExit("nor can the other one"))


def fail_at_first() -> None:
    """Fail in each way once, whichever process asks.

    Raises:
        BaseException: one of `FAILURES`.
    """
    for number, failure in enumerate(FAILURES):
        with suppress(FileExistsError):
            Path(gettempdir(), f"failure-{number}").touch(exist_ok=False)
            raise failure


@asynccontextmanager
async def failing_at_first(settings: Settings) -> AsyncIterator[None]:
    """Start the service, or fail."""
    fail_at_first()
    async with started(settings):
        yield


if __name__ == "__main__":
    settings = load_settings(Settings)
    configure_logging(settings)
    assert BACKEND.work is not None
    BACKEND.work(settings, lambda: failing_at_first(settings))
