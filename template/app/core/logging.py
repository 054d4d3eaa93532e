"""Logs: one JSON object a line, whoever wrote it, with the request's id and without secrets."""

import logging
import re
import sys
from collections.abc import Callable
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from app.core import context
from app.core.settings import AppSettings

REDACTED = "[redacted]"
_SECRET_NAME = re.compile(
    r"passw|secret|token|authorization|cookie|api[_-]?key|private|credential|dsn|(^|_)url$",
    re.IGNORECASE,
)
_ADDRESS_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+(?=@)")


def configure_logging(settings: AppSettings, stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's lines to one stream in one shape.

    Args:
        settings: tell level and format.
        stream: standard output, unless that is for something else.
    """
    output = stream or sys.stdout
    level = logging.DEBUG if settings.debug else logging.getLevelNamesMapping()[settings.log_level]
    shared: list[Processor] = [
        _name_logger,
        _add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redact,
    ]
    structlog.configure(
        processors=[*shared, _renderer(settings, as_text=False)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(output.buffer)
        if settings.logs_json
        else structlog.PrintLoggerFactory(output),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(settings, as_text=True),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    _hand_over_uvicorn()


def _hand_over_uvicorn() -> None:
    """Let uvicorn's lines reach the root logger; its access log is the request pass's job."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False


def _renderer(settings: AppSettings, *, as_text: bool) -> Processor:
    if not settings.logs_json:
        return structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    render: Callable[..., Any] = _dump_text if as_text else _dump
    return structlog.processors.JSONRenderer(serializer=render)


def _dump(event: Any, **_: Any) -> bytes:
    return orjson.dumps(event, default=str)


def _dump_text(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()


def _name_logger(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if name := event.pop("logger_name", None):
        event["logger"] = name
    return event


def _add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if request_id := context.request_id.get():
        event.setdefault("request_id", request_id)
    return event


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if _SECRET_NAME.search(name):
            event[name] = REDACTED
        elif isinstance(value, str) and "://" in value:
            event[name] = _ADDRESS_PASSWORD.sub(rf"\1:{REDACTED}", value)
    return event
