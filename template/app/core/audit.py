"""The audit log: one line for each event that matters to the service's security.

Its logger is `app.audit`, so that the lines can be kept apart and longer than others. They are
written whatever `LOG_LEVEL` says. The request's id, who is asking and from where are added.
"""

import logging

import structlog
from starlette.requests import HTTPConnection

from app.core import context
from app.core.logging import LONGEST_PATH

# Not cached: it is used seldom, and its filter is not the other loggers'.
_log = structlog.wrap_logger(
    None,
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    cache_logger_on_first_use=False,
    logger_name="app.audit",
)


def audit(event: str, **fields: object) -> None:
    """Write one line.

    Args:
        event: what happened, such as `login.failed`: a name that never changes, for programs.
        fields: about this occurrence; secrets among them are redacted.
    """
    client = context.client.get()
    _log.info(event, **({"client": client} if client else {}), **fields)


def audit_refusal(connection: HTTPConnection, status: int, code: str) -> None:
    """Tell of a request that was refused for who is asking; not of those who only lack a token."""
    if status == 403:
        event = "access.refused"
    elif status == 401 and "authorization" in connection.headers:
        event = "token.refused"
    else:
        return
    method = connection.scope.get("method", "WEBSOCKET")
    audit(event, method=method, path=connection.scope["path"][:LONGEST_PATH], code=code)
