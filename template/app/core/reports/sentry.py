"""What a project of Sentry is told, and how.

Apart from the piece, which loads it only where failures are reported: `sentry_sdk` loads urllib3
and some forty modules of its own.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import sentry_sdk
from sentry_sdk.types import Event, Hint

from app.core import context
from app.core.errors import unexpected

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

PATIENCE_SECONDS = 2.0
"""How long the end of the process waits for reports that are under way."""


@asynccontextmanager
async def reporting(dsn: str, settings: "CoreSettings") -> AsyncIterator[None]:
    """Report what is unexpected to this project, until the process ends."""
    sentry_sdk.init(
        dsn,
        environment=settings.environment,
        release=settings.app_version,
        before_send=_without_texts,
        default_integrations=False,
        auto_session_tracking=False,
        include_local_variables=False,
        send_client_reports=False,
    )
    try:
        with unexpected.heard_by(_report):
            yield
    finally:
        await asyncio.to_thread(sentry_sdk.get_client().close, PATIENCE_SECONDS)
        sentry_sdk.get_global_scope().set_client(None)


def _report(error: Exception) -> None:
    """Say what has failed, and what to look for in the log."""
    with sentry_sdk.new_scope() as scope:
        for name, value in (context.job.get() or {}).items():
            scope.set_tag(name, value)
        if request_id := context.request_id.get():
            scope.set_tag("request_id", request_id)
        scope.capture_exception(error)


def _without_texts(event: Event, _: Hint) -> Event:
    """Leave the types: texts of exceptions quote what callers have sent, and parameters."""
    for exception in event.get("exception", {}).get("values", ()):
        exception.pop("value", None)
    return event
