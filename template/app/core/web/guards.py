"""What is refused before it reaches an endpoint: foreign hosts and bodies that are too large."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import AppException, BadRequestError, PayloadTooLargeError
from app.core.piece import Piece
from app.core.problems import problem_response

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

_HOST_AND_PORT = re.compile(r"([\w.-]+|\[[0-9a-f:.]+\])(?::\d+)?")


class HostGuard:
    """Answers only for the configured host names (`*.example.com` covers all below it).

    Args:
        app: what comes after it.
        allowed: those names.
        probe_paths: asked by orchestrators, which name the container's address as the host.
    """

    def __init__(
        self, app: ASGIApp, allowed: Sequence[str], probe_paths: Iterable[str] = ()
    ) -> None:
        self.app = app
        self.probe_paths = frozenset(probe_paths)
        names = [name.lower() for name in allowed]
        self.exact = frozenset(names)
        self.suffixes = tuple(name[1:] for name in names if name.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on (ASGI)."""
        if scope["type"] in ("http", "websocket") and scope["path"] not in self.probe_paths:
            host = _host_name(Headers(scope=scope).get("host", ""))
            if host not in self.exact and not host.endswith(self.suffixes):
                await _refuse(scope, receive, send, BadRequestError("Unknown host"))
                return
        await self.app(scope, receive, send)


class BodyGuard:
    """Refuses bodies over a limit, by their declared length or as they come in.

    FastAPI's own `max_body_size` answers in plain text and before the request has an id.

    Args:
        app: what comes after it.
        limit: the most bytes of a body.
        others: paths below which another limit holds.
    """

    def __init__(self, app: ASGIApp, limit: int, others: Iterable[tuple[str, int]] = ()) -> None:
        self.app = app
        self.limit = limit
        self.others = tuple((f"{path}/", most) for path, most in others)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        limit = self._limit_of(scope["path"])
        too_large = f"The body may have at most {limit} bytes"
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or len(declared) > 18 or int(declared) > limit:
            await _refuse(scope, receive, send, PayloadTooLargeError(too_large))
            return

        received = 0

        async def count() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(PayloadTooLargeError.status, too_large)
            return message

        await self.app(scope, count, send)

    def _limit_of(self, path: str) -> int:
        for prefix, limit in self.others:
            if f"{path}/".startswith(prefix):
                return limit
        return self.limit


def _host_name(header: str) -> str:
    """Cut the port off; what is no host and port gives the empty name, which is never allowed."""
    parts = _HOST_AND_PORT.fullmatch(header.lower())
    return parts[1] if parts else ""


async def _refuse(scope: Scope, receive: Receive, send: Send, error: AppException) -> None:
    response = problem_response(
        scope, status=error.status, code=error.code, title=error.title, detail=error.detail
    )
    await response(scope, receive, send)


def _middleware(settings: "CoreSettings") -> Sequence[Middleware]:
    others = tuple(settings.body_limits())
    body = Middleware(BodyGuard, limit=settings.max_body_bytes, others=others)
    if "*" in settings.allowed_hosts:
        return [body]
    probes = tuple(settings.probe_paths())
    return [Middleware(HostGuard, allowed=settings.allowed_hosts, probe_paths=probes), body]


piece = Piece(name="guards", middleware=_middleware)
