"""Statements that are sent to a database are steps of the trace at hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.trace import Span, SpanKind, StatusCode, get_current_span, get_tracer
from sqlalchemy import Connection, Engine, ExceptionContext, ExecutionContext, event

_TRACER = get_tracer("app")
_KEY = "app_span"


@contextmanager
def traced() -> Iterator[None]:
    """Record the statements of all engines until the block is left."""
    listeners = (
        ("before_cursor_execute", _begin),
        ("after_cursor_execute", _end),
        ("handle_error", _fail),
    )
    for name, listener in listeners:
        event.listen(Engine, name, listener)
    try:
        yield
    finally:
        for name, listener in listeners:
            event.remove(Engine, name, listener)


def _begin(
    connection: Connection, _: Any, statement: str, __: Any, context: ExecutionContext, ___: bool
) -> None:
    if not get_current_span().is_recording():
        return
    # The text has placeholders where values are.
    said = {
        "db.system.name": connection.dialect.name,
        "db.namespace": connection.engine.url.database or "",
        "db.query.text": statement,
    }
    name = statement.split(maxsplit=1)[0].upper()
    setattr(context, _KEY, _TRACER.start_span(name, kind=SpanKind.CLIENT, attributes=said))


def _end(*arguments: Any) -> None:
    *_, context, _ = arguments
    span: Span | None = getattr(context, _KEY, None)
    if span is not None:
        span.end()


def _fail(failure: ExceptionContext) -> None:
    span: Span | None = getattr(failure.execution_context, _KEY, None)
    if span is not None:
        span.set_attribute("error.type", type(failure.original_exception).__qualname__)
        span.set_status(StatusCode.ERROR)
        span.end()
