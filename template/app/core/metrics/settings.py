"""Where the figures can be asked for."""

from collections.abc import Iterator

from pydantic import Field

from app.core.settings import AppSettings

PATH = "/metrics"


class MetricsSettings(AppSettings):
    """Where the figures can be asked for."""

    metrics_port: int = Field(
        0, ge=0, le=65535, description="Port of a worker's /metrics; 0 serves none"
    )

    def probe_paths(self) -> Iterator[str]:
        """Give the paths that machines ask again and again."""
        yield from super().probe_paths()
        yield PATH
