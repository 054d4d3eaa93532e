"""A worker's own `/metrics`: it serves nothing else, so this is a small server beside it."""

import ipaddress
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry
from pydantic import Field

from app.core.metrics.measurements import written
from app.core.metrics.processes import counted_together
from app.core.metrics.settings import PATH, MetricsSettings
from app.core.piece import Piece

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


class WorkerMetricsSettings(MetricsSettings):
    """Where the figures of a worker can be asked for."""

    metrics_port: int = Field(
        0, ge=0, le=65535, description="Port of HOST on which a worker serves /metrics; 0 = none"
    )


MOST_AT_ONCE = 4
"""Callers at one time; there is one Prometheus, or two."""


class _Handler(BaseHTTPRequestHandler):
    """Answers those who may know."""

    timeout = 5
    """Seconds that a caller may be silent."""

    def __init__(self, settings: "CoreSettings", *arguments: Any) -> None:
        self._settings = settings
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Give the figures."""
        if self.path.partition("?")[0] != PATH:
            self.send_error(404)
        else:
            self._answer(written(self._settings, CollectorRegistry()))

    def _answer(self, text: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def version_string(self) -> str:
        """Tell nobody what this is made of."""
        return ""

    def log_message(self, *_: Any) -> None:
        """Log nothing: it is asked again and again."""


class _Server(ThreadingHTTPServer):
    """Hangs up on strangers before it reads a word, and on those that are too many."""

    def __init__(self, settings: "CoreSettings") -> None:
        self._networks = [ipaddress.ip_network(each) for each in settings.internal_networks]
        self._free = threading.BoundedSemaphore(MOST_AT_ONCE)
        super().__init__((settings.host, settings.metrics_port), partial(_Handler, settings))

    def verify_request(self, _request: Any, client_address: Any) -> bool:
        """Whether the caller's address is one of those that may know."""
        address = ipaddress.ip_address(client_address[0])
        return any(address in network for network in self._networks)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, if one is free."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and free the thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()


@contextmanager
def _around_worker(settings: "CoreSettings") -> Iterator[None]:
    if not settings.metrics_port:
        yield
        return
    with counted_together(), _listening(settings) as server:
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def _listening(settings: "CoreSettings") -> _Server:
    try:
        return _Server(settings)
    except OSError as error:
        raise SystemExit(f"configuration: METRICS_PORT: {error.strerror}") from error


piece = Piece(name="worker_metrics", needs=("metrics",), around_worker=_around_worker)
