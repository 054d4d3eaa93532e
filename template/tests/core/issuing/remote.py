"""An issuer with an HTTP server of its own on loopback, which publishes its keys."""

import json
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import time
from typing import Any

import jwt

from tests.core.issuing.signing import Claims, SigningKey
from tests.core.ports import free_port

Describe = Callable[..., Claims]


class RemoteIssuer:
    """Publishes keys and issues tokens as a provider does.

    Attributes:
        algorithm: what it signs with.
        keys: the published ones; tokens are signed with the last.
        answers: the body of each path, made anew for each request; None answers 500.
        certificate: a file with key and certificate, with which it serves HTTPS.
        asked: the paths that were asked for, in order.
    """

    def __init__(
        self,
        algorithm: str,
        paths: Mapping[str, str],
        describe: Describe,
        variables: Describe,
        certificate: Path | None = None,
    ) -> None:
        self.algorithm = algorithm
        self.certificate = certificate
        self.keys = [SigningKey(algorithm)]
        self.asked: list[str] = []
        self.answers: dict[str, Callable[[], bytes | None]] = {
            path: getattr(self, name) for path, name in paths.items()
        }
        self._keys_path = next(path for path, name in paths.items() if name == "key_set")
        self._describe = describe
        self._variables = variables
        self._server: ThreadingHTTPServer | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http{'s' if self.certificate else ''}://127.0.0.1:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        return self._variables(self.url)

    @property
    def key(self) -> SigningKey:
        return self.keys[-1]

    def key_set(self) -> bytes:
        return json.dumps({"keys": [key.public for key in self.keys]}).encode()

    def discovery(self) -> bytes:
        return json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}{self._keys_path}"}).encode()

    def claims(
        self,
        subject: str = "somebody",
        *,
        tenant: str | None = None,
        roles: Iterable[str] = (),
        scopes: Iterable[str] = (),
        **changes: Any,
    ) -> Claims:
        now = int(time())
        described = {"sub": subject, "iat": now, "exp": now + 3600}
        described |= self._describe(self.url, tenant, list(roles), list(scopes))
        described |= changes
        return {name: value for name, value in described.items() if value is not None}

    def token(self, subject: str = "somebody", **claims: Any) -> str:
        claims = self.claims(subject, **claims)
        headers = {"kid": self.key.id}
        return jwt.encode(claims, self.key.private, self.key.algorithm, headers)

    def start(self) -> None:
        """Serve, also after a stop."""
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                make = issuer.answers.get(self.path)
                body = make() if make else None
                self.send_response(404 if make is None else 500 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: object) -> None:
                """Keep the output of the tests clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Be away."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @contextmanager
    def running(self) -> "Iterator[RemoteIssuer]":
        self.start()
        try:
            yield self
        finally:
            self.stop()
