"""Sign in while developing, without an account anywhere: tokens as the provider would issue them.

`make dev` starts this on loopback as long as nothing says who the real provider is. The keys stay
in `.local/`, so tokens outlive restarts. Nothing that is served in production imports this module.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from pydantic import create_model

from app.core.auth.provider import AuthSettings
from app.core.development.issued import ALGORITHM, describe, variables
from app.core.settings import AppSettings, load_settings

HOME = Path(".local") / "issuer"
LIFESPAN_SECONDS = 12 * 3600
KEY_ID = "development"
LOOPBACK = "127.0.0.1"

REQUIRED = [name for name, field in AuthSettings.model_fields.items() if field.is_required()]
Given = create_model(  # type: ignore[call-overload]
    "Given", __base__=AppSettings, **dict.fromkeys(REQUIRED, (str | None, None))
)


class DevelopmentIssuer:
    """Issues tokens for whoever asks; for development only.

    Args:
        home: where its key is kept.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = int(self._port_file.read_text()) if self._port_file.exists() else 0

    @property
    def url(self) -> str:
        """Its address, which is also the issuer that its tokens name."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def _port_file(self) -> Path:
        return self.home / "port"

    @cached_property
    def _key(self) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
        file = self.home / f"{ALGORITHM}.pem"
        if file.exists():
            kept = serialization.load_pem_private_key(file.read_bytes(), None)
            assert isinstance(kept, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey))  # noqa: S101
            return kept
        made: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = (
            ec.generate_private_key(ec.SECP256R1())
            if ALGORITHM == "ES256"
            else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        )
        file.touch(mode=0o600)
        file.write_bytes(
            made.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return made

    def key_set(self) -> dict[str, Any]:
        """What it publishes (RFC 7517)."""
        public = self._key.public_key()
        described = (
            ECAlgorithm.to_jwk(public, as_dict=True)
            if isinstance(public, ec.EllipticCurvePublicKey)
            else RSAAlgorithm.to_jwk(public, as_dict=True)
        )
        return {"keys": [{**described, "kid": KEY_ID, "alg": ALGORITHM, "use": "sig"}]}

    def discovery(self) -> dict[str, Any]:
        """Where its keys are (OpenID Connect Discovery)."""
        return {"issuer": self.url, "jwks_uri": f"{self.url}/jwks.json"}

    def token(
        self, subject: str = "developer", tenant: str = "", roles: str = "", scopes: str = ""
    ) -> str:
        """Issue a token; roles and scopes are separated by commas."""
        now = int(time())
        told = describe(
            self.url,
            tenant=tenant or None,
            roles=[role for role in roles.split(",") if role],
            scopes=[scope for scope in scopes.split(",") if scope],
        )
        claims = {"sub": subject, "iat": now, "exp": now + LIFESPAN_SECONDS, **told}
        return jwt.encode(claims, self._key, ALGORITHM, {"kid": KEY_ID})

    def answer(self, address: str) -> bytes | None:
        """Answer a request; None for what there is not."""
        parts = urlsplit(address)
        if parts.path == "/token":
            wanted = {name: ",".join(values) for name, values in parse_qs(parts.query).items()}
            try:
                return f"{self.token(**wanted)}\n".encode()
            except TypeError:
                return None
        if parts.path.endswith("/jwks.json"):
            return json.dumps(self.key_set()).encode()
        if parts.path == "/.well-known/openid-configuration":
            return json.dumps(self.discovery()).encode()
        return None

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve on loopback, at the same port as the last time if nobody else has it."""
        self.home.mkdir(parents=True, exist_ok=True)
        server = self._listen(_handler(self))
        self.port = server.server_port
        self._port_file.write_text(str(self.port))
        thread = Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()

    def _listen(self, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
        try:
            return ThreadingHTTPServer((LOOPBACK, self.port), handler)
        except OSError:
            return ThreadingHTTPServer((LOOPBACK, 0), handler)


def _handler(issuer: DevelopmentIssuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # A page elsewhere that has its name point to loopback shall not get a token.
            known = self.headers.get("Host") in (
                f"{LOOPBACK}:{issuer.port}",
                f"localhost:{issuer.port}",
            )
            body = issuer.answer(self.path) if known else None
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            """Leave the terminal to the service."""

    return Handler


def _is_wanted() -> bool:
    given = load_settings(Given)
    nothing_set = all(getattr(given, name) is None for name in REQUIRED)
    return nothing_set and given.environment == "development"


def name_issuer() -> None:
    """Complete the environment where no provider is set, for commands that serve nobody."""
    if _is_wanted():
        os.environ.update(variables(DevelopmentIssuer(HOME).url))


@contextmanager
def running_issuer(api: str) -> Iterator[Mapping[str, str]]:
    """Issue tokens until the block is left, unless a provider is set.

    Args:
        api: address of the service's API.

    Yields:
        What to tell the developer, by title.
    """
    if not _is_wanted():
        yield {}
        return
    issuer = DevelopmentIssuer(HOME)
    with issuer.serving():
        os.environ.update(variables(issuer.url))
        token = issuer.token(tenant="development", roles="admin")
        yield {
            "Try": f'curl -H "Authorization: Bearer {token}" {api}/auth/me',
            "Tokens": f"{issuer.url}/token?subject=ada&tenant=acme&roles=auditor&scopes=read",
        }
