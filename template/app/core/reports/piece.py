"""How reports of failures attach themselves to the service.

Only what the log calls unexpected is reported: requests that are answered by 500, jobs that are
given up: the type of the exception, the stack, and the ids by which the log is found. None of
Sentry's integrations is on: they patch libraries, and send what callers say.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.core.piece import Piece

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


@asynccontextmanager
async def _lifespan(settings: "CoreSettings") -> AsyncIterator[None]:
    if settings.sentry_dsn is None:
        yield
        return
    from app.core.reports.sentry import reporting  # noqa: PLC0415 - loads sentry_sdk

    async with reporting(settings.sentry_dsn.get_secret_value(), settings):
        yield


piece = Piece(name="reports", needs=("errors",), lifespan=_lifespan)
