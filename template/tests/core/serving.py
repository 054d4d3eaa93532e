"""A real server process, for what can only be seen from outside."""

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.core.plugin import SIGNED_IN
from tests.core.ports import free_port

START_SECONDS = 180
"""For the slowest of machines: what does start is not waited for."""
STOP_SECONDS = 60

NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For calls without TLS: reading the trusted certificates would take longer than the call."""


@dataclass
class Server:
    """A running server."""

    url: str
    process: "subprocess.Popen[str]"
    output: list[str] = field(default_factory=list)

    def get(self, path: str, request_id: str = "test") -> httpx2.Response:
        """Ask it something, signed in."""
        headers = {**SIGNED_IN, "X-Request-ID": request_id}
        return httpx2.get(f"{self.url}{path}", headers=headers, timeout=30, verify=NO_CERTIFICATES)

    def shake_hands(self, path: str) -> httpx2.Response:
        """Ask for a WebSocket, as RFC 6455 (4.1) says."""
        headers = {
            **SIGNED_IN,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version": "13",
        }
        return httpx2.get(f"{self.url}{path}", headers=headers, verify=NO_CERTIFICATES)

    def wait_until_ready(self) -> httpx2.Response:
        """Ask whether it is ready until it is: a machine that is busy may first be too slow."""
        end = time.monotonic() + START_SECONDS
        while (answer := self.get("/ready")).status_code != 200 and time.monotonic() < end:
            time.sleep(0.1)
        return answer

    def terminate(self) -> None:
        """Ask it to stop, as an orchestrator does."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Wait for its end and give its exit status; a signal's is negative."""
        return self.process.wait(STOP_SECONDS)

    def log_lines(self) -> list[dict[str, Any]]:
        """Everything it has logged; fails on a line that is not JSON."""
        return [json.loads(line) for line in self.output]


@contextmanager
def running(command: Sequence[str] = ("-m", "app"), **variables: str) -> Iterator[Server]:
    """Run a server on a free port until the block is left; wait until it answers."""
    port = free_port()
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, *command],
        env={**os.environ, "PYTHONFAULTHANDLER": "1", "PORT": str(port), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    server = Server(f"http://127.0.0.1:{port}", process)
    reader = threading.Thread(target=_read, args=[server])
    reader.start()
    try:
        if not _answers(server):
            _kill(server, signal.SIGABRT)  # Each process says where it is.
            reader.join()
            raise AssertionError("the server did not start:\n" + "\n".join(server.output))
        yield server
    finally:
        _kill(server, signal.SIGKILL)
        reader.join()


def _kill(server: Server, by: signal.Signals) -> None:
    """Kill it and all that it has started, which would keep its output open."""
    with suppress(ProcessLookupError):
        os.killpg(server.process.pid, by)
    server.process.wait()


def _read(server: Server) -> None:
    if server.process.stdout is not None:
        with server.process.stdout as lines:
            server.output.extend(line.rstrip("\n") for line in lines)


def _answers(server: Server) -> bool:
    """Wait until it does; not if it takes too long, or ends."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.process.poll() is None:
        try:
            server.get("/health")
        except httpx2.TransportError:
            time.sleep(0.05)
        else:
            return True
    return False
