"""A sign-in provider on loopback, with the endpoints of Google's and of GitHub's."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import sleep, time
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

import jwt

from tests.core.issuing.signing import SigningKey

CLIENT = {"client_id": "a-client", "client_secret": "the client's secret"}
Answer = tuple[int, dict[str, str], Any]

DRIP_SECONDS = 0.05
"""So that no answer is whole within some seconds."""


@cache
def signing_key() -> SigningKey:
    """One for all tests of this process: to find such primes takes longer than a test does."""
    return SigningKey("RS256")


@dataclass
class Person:
    """Who is signed in at the provider."""

    number: int = 4711
    email: str | None = "ada@example.com"
    verified: bool = True


class Elsewhere:
    """Signs everybody in as one person; keeps to the rules of OAuth strictly.

    Attributes:
        person: who that is.
        client: what it knows the service by.
        codes: what was asked for with each code that is not used up.
        changes: replaces claims of ID tokens.
        broken: paths that answer by an error.
        said: replaces what a path answers.
        dripping: paths whose answer comes byte by byte.
        names_issuer: whether it names itself when it sends the browser back (RFC 9207).
    """

    def __init__(self) -> None:
        self.key = signing_key()
        self.person = Person()
        self.client = dict(CLIENT)
        self.codes: dict[str, dict[str, str]] = {}
        self.tokens: set[str] = set()
        self.changes: dict[str, Any] = {}
        self.broken: set[str] = set()
        self.said: dict[str, Any] = {}
        self.dripping: set[str] = set()
        self.names_issuer = True
        self.url = ""

    @property
    def settings(self) -> dict[str, str]:
        """The settings with which a service signs in here, as if it were both."""
        clients = {
            f"{name}_{key}": value
            for name in ("google", "github")
            for key, value in self.client.items()
        }
        return {
            **clients,
            "google_issuer": self.url,
            "github_url": self.url,
            "github_api_url": f"{self.url}/api",
        }

    # --- endpoints ---

    def get(self, path: str, query: dict[str, str], token: str) -> Answer:
        if path == "/.well-known/openid-configuration":
            return 200, {}, self._document()
        if path == "/keys":
            return 200, {}, {"keys": [self.key.public]}
        if path in ("/authorize", "/login/oauth/authorize"):
            return self._authorize(query)
        if path.startswith("/api/user"):
            if token not in self.tokens:
                return 401, {}, {}
            return 200, {}, self._user() if path == "/api/user" else self._emails()
        return 404, {}, {}

    def post(self, path: str, form: dict[str, str]) -> Answer:
        asked = self.codes.pop(form.get("code", ""), None)
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).decode().rstrip("=")
        good = (
            asked is not None
            and {name: form.get(name) for name in self.client} == self.client
            and form.get("grant_type") == "authorization_code"
            and form.get("redirect_uri") == asked["redirect_uri"]
            and challenge == asked["code_challenge"]
        )
        github = path == "/login/oauth/access_token"
        if not good or asked is None:
            return 200 if github else 400, {}, {"error": "invalid_grant"}
        token = uuid4().hex
        self.tokens.add(token)
        answer = {"access_token": token, "token_type": "bearer"}
        return 200, {}, answer if github else answer | {"id_token": self._id_token(asked)}

    def _document(self) -> dict[str, str]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        }

    def _authorize(self, query: dict[str, str]) -> Answer:
        assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
        assert query["client_id"] == self.client["client_id"]
        code = uuid4().hex
        self.codes[code] = query
        back = {"code": code, "state": query["state"]}
        if self.names_issuer and "nonce" in query:
            back["iss"] = self.url
        return 303, {"Location": f"{query['redirect_uri']}?{urlencode(back)}"}, {}

    def _id_token(self, asked: dict[str, str]) -> str:
        claims = {
            "iss": self.url,
            "aud": self.client["client_id"],
            "sub": str(self.person.number),
            "exp": int(time()) + 60,
            "nonce": asked["nonce"],
            "email": self.person.email,
            "email_verified": self.person.verified,
        }
        return jwt.encode(claims | self.changes, self.key.private, "RS256", {"kid": self.key.id})

    def _user(self) -> dict[str, Any]:
        # What its public profile says is no proof.
        return {"id": self.person.number, "login": "ada", "email": "root@example.com"}

    def _emails(self) -> list[dict[str, Any]]:
        other = {"email": "root@example.com", "primary": False, "verified": True}
        return [
            other,
            {"email": self.person.email, "primary": True, "verified": self.person.verified},
        ]

    # --- server ---

    @contextmanager
    def running(self) -> "Iterator[Elsewhere]":
        elsewhere = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                self._answer(*elsewhere.get(parts.path, _flat(parts.query), token))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self._answer(*elsewhere.post(self.path, _flat(body)))

            def _answer(self, status: int, headers: dict[str, str], body: Any) -> None:
                path = urlsplit(self.path).path
                broken = path in elsewhere.broken
                said = json.dumps(elsewhere.said.get(path, body))
                content = b"<html>" if broken else said.encode()
                self.send_response(502 if broken else status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if path not in elsewhere.dripping:
                    self.wfile.write(content)
                    return
                with suppress(OSError):  # whoever has asked has had enough
                    for byte in content:
                        self.wfile.write(bytes([byte]))
                        sleep(DRIP_SECONDS)

            def log_message(self, *_: object) -> None:
                """Keep the output of the tests clean."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()


def _flat(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}
