"""Where the figures can be asked for."""

from collections.abc import Iterator

from app.core.settings import AppSettings

PATH = "/metrics"


class MetricsSettings(AppSettings):
    """Where the figures can be asked for."""

    def probe_paths(self) -> Iterator[str]:
        """Give the paths that machines ask again and again."""
        yield from super().probe_paths()
        yield PATH
