"""The audit log: what happened that somebody responsible for security wants to find again."""

import structlog

log = structlog.get_logger(logger_name="app.audit")


def audit(event: str, **fields: object) -> None:
    """Write down a security event; who asked, and the request's id, are added by themselves.

    Args:
        event: what happened, such as `login.failed`.
        fields: about whom and what; never a password, a token or a part of one.
    """
    log.info(event, **fields)
