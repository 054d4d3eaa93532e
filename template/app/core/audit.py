"""The audit log: what an auditor asks for after the fact, one line each."""

import structlog

log = structlog.get_logger(logger_name="app.audit")


def audit(event: str, **fields: object) -> None:
    """Write down a security event, such as `login.failed`, with what it concerns."""
    log.info(event, **fields)
