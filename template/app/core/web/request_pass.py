"""The one pass around every request: its id, its headers, its line in the log.

Everything that each request pays for stands here once. Nothing derives from
`BaseHTTPMiddleware`, which costs about as much as a bare endpoint.
"""

import re
from time import perf_counter
from uuid import uuid4

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core import context, deadline
from app.core.logging import LONGEST_PATH
from app.core.signals import Signal
from app.core.web.client import client_address
from app.core.web.routes import route_template

log = structlog.get_logger(logger_name="app.access")

_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_TRACE_PARENT = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_CLIENT_CLOSED = 499
"""What nginx logs for a client that left before the answer began."""

_TIMED_OUT = 504
_SWITCHED = 101
_REFUSED = 403
"""What the server answers when a WebSocket is closed instead of accepted."""
_STARTS = ("http.response.start", "websocket.http.response.start", "websocket.accept")

request_began: Signal[[]] = Signal()
request_ended: Signal[[str, str, int, float]] = Signal()
"""Told of each HTTP request: its method, the template of its route, the status, the seconds.

An answer that comes in parts counts until it begins: how long it goes on is up to whoever reads it.
"""

RawHeaders = list[tuple[bytes, bytes]]

COMMON_HEADERS: RawHeaders = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]
API_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
# Swagger UI loads its script and style from a public CDN and starts by an inline script.
DOCS_POLICY = (
    b"content-security-policy",
    b"; ".join(
        [
            b"default-src 'self'",
            b"img-src 'self' data: https://fastapi.tiangolo.com",
            b"script-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net",
            b"style-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net",
            b"frame-ancestors 'none'",
        ]
    ),
)
TRANSPORT_POLICY = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


class RequestPass:
    """Outermost ASGI middleware of the service.

    Args:
        app: what comes after it.
        https_only: tell browsers to come back by HTTPS only.
        docs_paths: pages that may load scripts (Swagger UI).
        probe_paths: neither logged nor measured, since they would drown all others.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        https_only: bool,
        docs_paths: frozenset[str] = frozenset(),
        probe_paths: frozenset[str] = frozenset(),
    ) -> None:
        self.app = app
        self.docs_paths = docs_paths
        self.probe_paths = probe_paths
        common = [*COMMON_HEADERS, TRANSPORT_POLICY] if https_only else COMMON_HEADERS
        self.api_headers: RawHeaders = [*common, API_POLICY]
        self.docs_headers: RawHeaders = [*common, DOCS_POLICY]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on (ASGI)."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return

        started = perf_counter()
        began, status = 0.0, _CLIENT_CLOSED
        path: str = scope["path"]
        request_id, trace, until = _told(scope)
        headers = self.docs_headers if path in self.docs_paths else self.api_headers
        request_token = context.request_id.set(request_id.decode())
        # A pipelined request begins inside of the one before, and inherits what that has set.
        principal_token = context.principal.set(None)
        tenant_token = context.tenant.set(None)
        trace_token = context.traceparent.set(trace)
        deadline_token = context.deadline.set(until)
        address = client_address(scope)
        client = str(address) if address else None
        client_token = context.client.set(client)

        async def send_with_headers(message: Message) -> None:
            nonlocal began, status
            if message["type"] == "websocket.close" and status == _CLIENT_CLOSED:
                status = _REFUSED
            if message["type"] in _STARTS:
                status = message.get("status", _SWITCHED)
                given = list(message.get("headers", ()))
                names = {name for name, _ in given}
                # Whatever an answer says itself stands.
                own = [(name, value) for name, value in headers if name not in names]
                message["headers"] = [*given, (b"x-request-id", request_id), *own]
            elif not began and message.get("more_body"):
                began = perf_counter()
            await send(message)

        told = path not in self.probe_paths
        measured = told and scope["type"] == "http"
        if measured:
            request_began()
        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            ended = perf_counter()
            method: str = scope.get("method", "WEBSOCKET")
            route = route_template(scope)
            if measured:
                request_ended(method, route, _blamed(status), (began or ended) - started)
            if told:
                log.info(
                    "request",
                    method=method,
                    path=path[:LONGEST_PATH],
                    route=route,
                    status=status,
                    duration_ms=round((ended - started) * 1000, 2),
                    client=client,
                )
            context.client.reset(client_token)
            context.deadline.reset(deadline_token)
            context.traceparent.reset(trace_token)
            context.tenant.reset(tenant_token)
            context.principal.reset(principal_token)
            context.request_id.reset(request_token)


def _blamed(status: int) -> int:
    """What counts as the end: a caller whose time was too short has left, whatever it was told."""
    return _CLIENT_CLOSED if status == _TIMED_OUT and deadline.remaining() == 0 else status


def _told(scope: Scope) -> tuple[bytes, str | None, float | None]:
    """Take the caller's id, trace and deadline when they are sane: they travel on."""
    request_id = trace = until = None
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            request_id = request_id or (bytes(value) if _SANE_ID.fullmatch(value) else None)
        elif name == b"traceparent":
            trace = value.decode() if _TRACE_PARENT.fullmatch(value) else None
        elif name == b"x-request-timeout":
            until = deadline.parse(value)
    return request_id or uuid4().hex.encode(), trace, until
