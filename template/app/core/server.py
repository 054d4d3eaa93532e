"""The production server: `python -m app`."""

from contextlib import ExitStack

import uvicorn

from app.core.logging import configure_logging
from app.core.registry import PIECES, CoreSettings

KEEP_ALIVE_SECONDS = 75
"""Longer than the idle time-out of common load balancers (60), so that they close first."""

HANGING_SECONDS = 60
"""A process that says nothing for so long is replaced. On a small or busy machine one that starts
says nothing for longer than uvicorn's 5 s, and its replacement, started anew, would say no more."""


def serve(application: str, settings: CoreSettings) -> None:
    """Serve an application, given as `module:name`, until it is told to stop."""
    configure_logging(settings)
    with ExitStack() as stack:
        for piece in PIECES:
            if piece.around_server:
                stack.enter_context(piece.around_server(settings))
        uvicorn.run(
            application,
            host=settings.host,
            port=settings.port,
            workers=settings.web_concurrency,
            forwarded_allow_ips=list(settings.forwarded_allow_ips),
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_worker_healthcheck=HANGING_SECONDS,
            timeout_graceful_shutdown=settings.shutdown_grace_seconds,
            # Compressed, a thousandth of so many bytes would do to fill as much memory.
            ws_per_message_deflate=False,
            ws_max_size=settings.largest_message,
            server_header=False,
            access_log=False,
            log_config=None,
        )
