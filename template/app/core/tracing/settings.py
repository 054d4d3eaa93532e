"""Where traces are sent to, and how many; the names are those of OpenTelemetry."""

from pydantic import Field, SecretStr, field_validator

from app.core.http.settings import check_base_url
from app.core.settings import AppSettings
from app.core.tracing.name import DEFAULT_NAME


class TracingSettings(AppSettings):
    """Where traces are sent to, and how many."""

    otel_exporter_otlp_endpoint: str | None = Field(
        None, description="Address of the collector (http://collector:4318); none: no traces"
    )
    otel_exporter_otlp_headers: SecretStr | None = Field(
        None, description="Headers that it wants, separated by commas: name=value"
    )
    otel_service_name: str = Field(DEFAULT_NAME, description="What the service is called there")
    otel_traces_sampler_arg: float = Field(
        1.0, ge=0, le=1, description="Share of the traces that are recorded"
    )

    @field_validator("otel_exporter_otlp_endpoint")
    @classmethod
    def _check_endpoint(cls, value: str | None) -> str | None:
        if value is not None:
            check_base_url(value)
        return value
