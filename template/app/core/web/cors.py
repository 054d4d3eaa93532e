"""Cross-origin requests: which other sites' pages may call the API."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.core import deadline
from app.core.errors import BadRequestError
from app.core.piece import Piece
from app.core.problems import problem_response

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

ALLOWED_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "traceparent",
    "tracestate",
    "X-Request-ID",
    deadline.HEADER,
)
EXPOSED_HEADERS = (
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Limit",
    "RateLimit-Policy",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "X-Request-ID",
)


class ProblemCORSMiddleware(CORSMiddleware):
    """Starlette's, except that a refused preflight is a problem like every other error."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on (ASGI)."""
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            refusal = self._refusal(scope)
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if "origin" not in headers or "access-control-request-method" not in headers:
            return None
        answer = self.preflight_response(request_headers=headers)
        if answer.status_code < 400:
            return None
        return problem_response(
            scope,
            status=BadRequestError.status,
            code=BadRequestError.code,
            title=BadRequestError.title,
            detail=bytes(answer.body).decode(),
            headers={"Vary": answer.headers.get("vary", "Origin")},
        )


def _middleware(settings: "CoreSettings") -> Sequence[Middleware]:
    if not settings.backend_cors_origins:
        return []
    return [
        Middleware(
            ProblemCORSMiddleware,
            allow_origins=settings.backend_cors_origins,
            # Cookies and "any origin" together would let every site act for its visitors.
            allow_credentials="*" not in settings.backend_cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=ALLOWED_HEADERS,
            expose_headers=EXPOSED_HEADERS,
            max_age=600,
        )
    ]


piece = Piece(name="cors", middleware=_middleware)
