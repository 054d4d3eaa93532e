"""Reading what the service logs."""

import io
import json
from typing import Any

from app.config import Settings
from app.core.logging import configure_logging
from tests.core.plugin import with_changes


class AuditLog:
    """What is written from now on by the audit log, while all others are to be quiet."""

    def __init__(self, settings: Settings) -> None:
        self.stream = io.TextIOWrapper(io.BytesIO(), write_through=True)
        quiet = with_changes(settings, log_format="json", log_level="ERROR")
        configure_logging(quiet, self.stream)

    def lines(self) -> list[dict[str, Any]]:
        """The lines up to now."""
        self.stream.seek(0)
        lines = [json.loads(line) for line in self.stream]
        return [line for line in lines if line["logger"] == "app.audit"]
