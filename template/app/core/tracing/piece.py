"""How tracing attaches itself to the service."""

from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi.telemetry import TelemetryConfig

from app.core.piece import Piece
from app.core.tracing.provider import install, sending
from app.core.tracing.statements import traced

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


def _telemetry(settings: "CoreSettings") -> TelemetryConfig:
    """Have FastAPI record requests. Figures and logs have their own ways."""
    probes = frozenset(settings.probe_paths())

    def is_probe(scope: MutableMapping[str, Any]) -> bool:
        return scope["path"] in probes

    return TelemetryConfig(
        tracing=settings.otel_exporter_otlp_endpoint is not None,
        metrics=False,
        logs=False,
        operation_spans=False,
        auto_configure=False,
        exclude=is_probe,
    )


@asynccontextmanager
async def _lifespan(settings: "CoreSettings") -> AsyncIterator[None]:
    if settings.otel_exporter_otlp_endpoint is None:
        yield
        return
    install(settings)
    async with sending(settings):
        with traced():
            yield


piece = Piece(name="tracing", lifespan=_lifespan, telemetry=_telemetry)
