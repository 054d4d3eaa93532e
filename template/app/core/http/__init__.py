"""Calls to other services over HTTP: `Upstream` is one of them, and all that is known of it."""

from app.core.http.errors import (
    AddressRefusedError,
    UpstreamError,
    UpstreamFailedError,
    UpstreamRefusedError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from app.core.http.upstream import Upstream

__all__ = [
    "AddressRefusedError",
    "Upstream",
    "UpstreamError",
    "UpstreamFailedError",
    "UpstreamRefusedError",
    "UpstreamTimeoutError",
    "UpstreamUnavailableError",
]
