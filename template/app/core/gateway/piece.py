"""How the gateway attaches itself to the service."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response, WebSocket

from app.core.auth import public
from app.core.gateway.forwarding import Forwarding
from app.core.gateway.settings import PREFIX
from app.core.gateway.talking import check_origin, talk
from app.core.gateway.upstreams import PROBE_SECONDS, connected, running
from app.core.piece import Check, Details, Piece
from app.core.web.routes import Router

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
"""What is passed on. Not TRACE, which shows cookies to scripts, nor CONNECT, which is a tunnel."""


def _add_routes(router: APIRouter, settings: "CoreSettings", name: str) -> None:
    """Let the router's own table find the upstream: a name that is not in it is a 404."""
    prefix = f"{PREFIX}/{name}"
    most_bytes = settings.gateway_max_header_bytes

    async def forward(request: Request) -> Response:
        return Forwarding(request, connected(settings, name), prefix, most_bytes=most_bytes)

    async def open_socket(socket: WebSocket) -> None:
        check_origin(socket, settings.backend_cors_origins)
        await talk(socket, connected(settings, name), prefix, most_bytes=most_bytes)

    if settings.gateway_upstreams[name].public:
        public(forward)
        public(open_socket)
    for path in (prefix, f"{prefix}/{{path:path}}"):
        router.add_api_route(path, forward, methods=METHODS, include_in_schema=False)
        router.add_api_websocket_route(path, open_socket)


def _routers(settings: "CoreSettings") -> Sequence[APIRouter]:
    router = Router(tags=["gateway"])
    for name in settings.gateway_upstreams:
        _add_routes(router, settings, name)
    return [router]


def _check(name: str) -> Check:
    async def probe(settings: "CoreSettings") -> Details:
        return await connected(settings, name).probe()

    # Without an upstream the service still serves everything else.
    return Check(name=f"upstream:{name}", probe=probe, required=False, timeout=PROBE_SECONDS + 1)


def _checks(settings: "CoreSettings") -> Sequence[Check]:
    return [_check(name) for name in settings.gateway_upstreams]


piece = Piece(
    name="gateway",
    needs=("errors", "guards", "health", "limits"),
    lifespan=running,
    further_checks=_checks,
    routers=_routers,
)
