"""Logs: one JSON object a line, whoever wrote it, with the request's id and without secrets."""

import json
import logging
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any, BinaryIO, TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from app.core import context
from app.core.settings import AppSettings
from app.core.traces.trace import identifiers

REDACTED = "[redacted]"
_SECRET_NAME = re.compile(
    r"passw|passphrase|pwd|secret|token|authorization|cookie|api_?key|access_?key|private|credential"
    r"|signature|session_?id|^(auth|dsn|jwt|otp)$|(^|_)url$",
    re.IGNORECASE,
)
# In texts: what stands before the last @ of an address, and what follows the name of a secret.
# A password may hold blanks, so everything to the last @ of the line belongs to it. What looks like
# a port and a path (http://host:8000/path) begins no password.
# Callers choose some of these texts, so each repetition is bounded: without a bound a path of two
# kilobytes holds up everybody for seconds.
_ADDRESS_LOGIN = re.compile(
    r"(?<=://)(?:[^\s\"'<>/@:]{0,256}:(?!\d{1,5}/)[^\"'<>\r\n]{0,256}|[^\s\"'<>]{0,512})@"
)
_NAMED_SECRET = re.compile(
    r"((?:passw\w{0,32}|pwd|secret\w{0,32}|token\w{0,32}|authorization|cookie"
    r"|(?:api|access|private)[_-]?key)[\"']?\s{0,8}[=:]\s{0,8})"
    r"(?:\"[^\"]{1,4096}\"|'[^']{1,4096}'|[\"']?(?:bearer\s{1,8}|basic\s{1,8})?[^\s\"'&,;)}]{1,4096})"
    r"|(\bbearer\s{1,8})[^\s\"'&,;)}]{1,4096}",
    re.IGNORECASE,
)
_DEEPEST = 5
"""Nobody looks into what is deeper: it is left out."""
_LONGEST = 16_384
"""Characters of a text that are kept: nobody reads more, and cleaning takes time."""
LONGEST_PATH = 1024
"""Characters of a path that are logged: whoever asks chooses them, and each is looked at."""


_AS_JSON = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS
"""The fields of a dataclass may be secret: its text is cleaned instead."""


class _Sink:
    """An output that may fail, such as a full disk: then lines are lost, but no request is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, line: bytes) -> None:
        with suppress(OSError, ValueError):
            self._file.write(line)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._file.flush()


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
        _add_context,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redact,
    ]
    structlog.configure(
        processors=[*shared, _renderer(settings, as_text=False)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(cast("BinaryIO", _Sink(output.buffer)))
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
    # httpx2 writes whole addresses, and what is in a query may be secret.
    for chatty in ("alembic.runtime.plugins", "httpx2", "watchfiles.main"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # SQLAlchemy's own `echo` would write each line twice, once as plain text.
    sql = logging.INFO if settings.debug else logging.WARNING
    logging.getLogger("sqlalchemy.engine").setLevel(sql)
    _hand_over_uvicorn()


def _hand_over_uvicorn() -> None:
    """Let uvicorn's lines reach the root logger; its access log is the request pass's job."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.error").addFilter(_is_not_of_a_websocket)
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False


def _is_not_of_a_websocket(record: logging.LogRecord) -> bool:
    """Leave out what uvicorn says of each WebSocket, since the query may hold a ticket."""
    return not str(record.msg).startswith('%s - "WebSocket %s"')


def _renderer(settings: AppSettings, *, as_text: bool) -> Processor:
    if not settings.logs_json:
        return structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    render: Callable[..., Any] = _dump_text if as_text else _dump
    return structlog.processors.JSONRenderer(serializer=render)


def _dump(event: Any, **_: Any) -> bytes:
    try:
        return orjson.dumps(event, default=_as_text, option=_AS_JSON)
    except (TypeError, ValueError, RecursionError):
        # A value that has no JSON: the line is worth more than its exact shape.
        safe = {str(name): _as_text(value) for name, value in event.items()}
        return json.dumps(safe).encode()


def _dump_text(event: Any, **options: Any) -> str:
    return _dump(event, **options).decode()


def _as_text(value: Any) -> str:
    try:
        return clean_text(str(value))
    except Exception:  # noqa: BLE001 - a log line must never fail
        return f"<{type(value).__name__}>"


def _name_logger(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if name := event.pop("logger_name", None):
        event["logger"] = name
    return event


def _add_context(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if request_id := context.request_id.get():
        event.setdefault("request_id", request_id)
    if principal := context.principal.get():
        event.setdefault("subject", principal.subject)
    for name, value in identifiers().items():
        event.setdefault(name, value)
    for name, value in (context.job.get() or {}).items():
        event.setdefault(name, value)
    return event


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if value.__class__ is not int and value.__class__ is not float:
            event[name] = REDACTED if _is_secret(name) else _clean(value)
    return event


@lru_cache(maxsize=512)
def _is_secret(name: str) -> bool:
    """Whether a field holds a secret; the names stand in the code, so they are few."""
    return _SECRET_NAME.search(name) is not None


def _clean(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if depth < _DEEPEST and isinstance(value, dict):
        return {
            key: REDACTED if _SECRET_NAME.search(str(key)) else _clean(each, depth + 1)
            for key, each in value.items()
        }
    if depth < _DEEPEST and isinstance(value, list | tuple):
        return [_clean(each, depth + 1) for each in value]
    return REDACTED if isinstance(value, dict | list | tuple) else value


def clean_text(text: str) -> str:
    """Take secrets out of a text, and cut off what nobody reads."""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}… ({len(text)} characters)"
    if "://" in text and "@" in text:
        text = _ADDRESS_LOGIN.sub(f"{REDACTED}@", text)
    if "=" in text or ":" in text or "earer " in text:
        text = _NAMED_SECRET.sub(rf"\1\2{REDACTED}", text)
    return text
