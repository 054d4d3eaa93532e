"""What records spans in this process, and sends them while the service runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import get_tracer_provider, set_tracer_provider
from opentelemetry.util.re import parse_env_headers

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

PATIENCE_SECONDS = 5.0
"""How long the collector is waited for: nobody waits with it, but the end of the process."""


class _Sending(SpanProcessor):
    """Hands spans on to whoever sends them, while somebody does."""

    def __init__(self) -> None:
        self.sender: SpanProcessor | None = None

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Leave out what a query says: secrets may be in it, and no log has it."""
        if span.attributes and "url.query" in span.attributes:
            span.set_attribute("url.query", "[redacted]")

    def on_end(self, span: ReadableSpan) -> None:
        if self.sender is not None:
            self.sender.on_end(span)


_sending = _Sending()


def sampler_of(share: float) -> Sampler:
    """Decide which traces are recorded: a share of them, by their ids.

    So a job is recorded with the request that has enqueued it. What callers say of recording
    decides nothing: whoever it is would fill the collector, or hide.
    """
    ratio = TraceIdRatioBased(share)
    return ParentBased(ratio, remote_parent_sampled=ratio, remote_parent_not_sampled=ratio)


def install(settings: "CoreSettings") -> None:
    """Make the provider of this process, which OpenTelemetry lets one do once.

    The service's own code finds it by `opentelemetry.trace.get_tracer(__name__)`.
    """
    if isinstance(get_tracer_provider(), TracerProvider):
        return
    said = {
        "service.name": settings.otel_service_name,
        "service.version": settings.app_version,
        "deployment.environment.name": settings.environment,
    }
    provider = TracerProvider(
        sampler=sampler_of(settings.otel_traces_sampler_arg),
        resource=Resource.create(said),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(_sending)
    set_tracer_provider(provider)


@asynccontextmanager
async def sending(settings: "CoreSettings") -> AsyncIterator[None]:
    """Send spans in this block, and at its end those that are left."""
    headers = settings.otel_exporter_otlp_headers
    exporter = OTLPSpanExporter(
        endpoint=f"{(settings.otel_exporter_otlp_endpoint or '').rstrip('/')}/v1/traces",
        headers=parse_env_headers(headers.get_secret_value(), liberal=True) if headers else None,
        timeout=PATIENCE_SECONDS,
    )
    before, sender = _sending.sender, BatchSpanProcessor(exporter)
    _sending.sender = sender
    try:
        yield
    finally:
        _sending.sender = before
        await asyncio.to_thread(sender.shutdown)
