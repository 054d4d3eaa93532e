"""A server of somebody else's, as small as a test needs it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """What arrived.

    Attributes:
        method: such as GET.
        path: without the query.
        query: what stands behind the question mark.
        headers: names in any case.
        body: what its JSON says, None without one.
    """

    method: str
    path: str
    query: str
    headers: Message
    body: Any


Answer = Callable[[Request], tuple[int, Any]]
"""Gives a status, and what is sent as JSON; None is an empty body."""


class _Handler(BaseHTTPRequestHandler):
    answer: Answer

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def log_message(self, *arguments: Any) -> None:
        """Stay quiet."""

    def _answer(self) -> None:
        path, _, query = self.path.partition("?")
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.loads(sent) if sent else None
        status, said = type(self).answer(Request(self.command, path, query, self.headers, body))
        content = b"" if said is None else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def outside(answer: Answer) -> Iterator[str]:
    """Run a server on this machine and give its address, http://HOST:PORT."""
    handler = type("Handler", (_Handler,), {"answer": staticmethod(answer)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
