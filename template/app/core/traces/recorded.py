"""Traces are recorded: each step of this service is a span."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode, get_current_span, get_tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.core import context

_TRACER = get_tracer("app")
_PROPAGATOR = TraceContextTextMapPropagator()
_NOTHING: AbstractContextManager[None] = nullcontext()


def traceparent() -> str | None:
    """What those are told whom this service asks: the span at hand, or the caller's trace."""
    found = get_current_span().get_span_context()
    if not found.is_valid:
        return context.traceparent.get()
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"


def identifiers() -> Mapping[str, str]:
    """What each log line says of the trace."""
    found = get_current_span().get_span_context()
    if not found.is_valid:
        return {}
    return {"trace_id": f"{found.trace_id:032x}", "span_id": f"{found.span_id:016x}"}


def step(name: str, **attributes: str) -> AbstractContextManager[None]:
    """Take a step of the trace at hand in the block: a question to something else.

    Where nothing is recorded, such as in what goes on by itself, it is no step of anything.

    Args:
        name: what is done, of which there must not be many.
        attributes: names with `_` for `.`: `server_address`.
    """
    if not get_current_span().is_recording():
        return _NOTHING
    return _span(name, SpanKind.CLIENT, None, attributes)


def failed(error: Exception) -> None:
    """Tell the trace that the step or the job at hand has failed, where it does not raise."""
    span = get_current_span()
    span.set_attribute("error.type", type(error).__qualname__)
    span.set_status(StatusCode.ERROR)


def job(name: str, traceparent: str | None) -> AbstractContextManager[None]:
    """Do a job in the block, as part of the trace of whoever has enqueued it.

    Args:
        name: its task.
        traceparent: that trace; without one, it begins its own.
    """
    parent = _PROPAGATOR.extract({"traceparent": traceparent} if traceparent else {}, Context())
    return _span(f"job {name}", SpanKind.CONSUMER, parent, {"messaging_destination_name": name})


@contextmanager
def _span(
    name: str, kind: SpanKind, parent: Context | None, attributes: Mapping[str, str]
) -> Iterator[None]:
    said = {name.replace("_", "."): value for name, value in attributes.items()}
    with _TRACER.start_as_current_span(
        name,
        parent,
        kind=kind,
        attributes=said,
        # What an exception says may be secret, and is logged where secrets are taken out.
        record_exception=False,
        set_status_on_exception=False,
    ):
        try:
            yield
        except Exception as error:
            failed(error)
            raise
