"""What is measured in this service."""

from app.core.metrics.sources.base import Source
from app.core.metrics.sources.requests import source as requests

SOURCES: tuple[Source, ...] = (requests,)
