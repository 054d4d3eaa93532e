"""An upstream is told the span at hand, not the one of whoever has called."""

from opentelemetry.trace import get_tracer

from app.config import Settings
from app.core.gateway.headers import for_upstream
from app.core.tracing.provider import install

CALLERS = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_an_upstream_is_told_the_span_at_hand(settings: Settings) -> None:
    install(settings)
    scope = {"scheme": "http", "headers": [(b"traceparent", CALLERS.encode())]}
    with get_tracer(__name__).start_as_current_span("request") as span:
        found = span.get_span_context()
        told = for_upstream(scope, "/services/app", most_bytes=1000).getall("traceparent")
    ids = f"{found.trace_id:032x}-{found.span_id:016x}"
    assert told == [f"00-{ids}-{found.trace_flags:02x}"]
