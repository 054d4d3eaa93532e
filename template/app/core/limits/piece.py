"""How rate limits attach themselves to the service."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fastapi import Depends
from fastapi.params import Depends as Dependency
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import RateLimitedError
from app.core.limits.limiter import (
    SCOPE_KEY,
    Counting,
    Limiter,
    Policy,
    Quota,
    count_request,
    parse_limits,
    policies,
)
from app.core.limits.settings import OFF, LimitSettings
from app.core.limits.storage import build_storage
from app.core.piece import Piece
from app.core.problems import problem_response

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

RawHeaders = list[tuple[bytes, bytes]]
_STARTS = ("http.response.start", "websocket.http.response.start")


class LimitsMiddleware:
    """Brings the limiter to the request, and what is left to the answer's headers.

    Whom authentication refuses, or whose body nobody can read, no dependency sees: they are counted
    when their 401 or 422 is sent, and get a 429 instead when they are too many.
    """

    def __init__(self, app: ASGIApp, limiter: Limiter, default: tuple[Policy, ...]) -> None:
        self.app = app
        self.limiter = limiter
        self.default = default

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on (ASGI)."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        counted = scope[SCOPE_KEY] = Counting(self.limiter, self.default)

        replaced = False

        async def send_with_quotas(message: Message) -> None:
            if message["type"] in _STARTS and counted.quotas:
                message["headers"] = _replaced(message.get("headers", ()), counted.quotas)
            await send(message)

        async def count_and_send(message: Message) -> None:
            nonlocal replaced
            if _is_refusal(message, scope):
                try:
                    await counted.count_by_default(HTTPConnection(scope))
                except RateLimitedError as error:
                    replaced = True
                    await _refuse(error, scope, receive, send_with_quotas)
            if not replaced:
                await send_with_quotas(message)

        await self.app(scope, receive, count_and_send)


def _replaced(headers: Iterable[tuple[bytes, bytes]], quotas: Sequence[Quota]) -> RawHeaders:
    """Add what is left here, in place of what another service says of itself."""
    own = describe(quotas)
    names = {name for name, _ in own}
    return [*(pair for pair in headers if pair[0].lower() not in names), *own]


def _is_refusal(message: Message, scope: Scope) -> bool:
    """Whether a caller is refused who may have been counted by nobody."""
    if message["type"] not in _STARTS:
        return False
    endpoint = scope.get("endpoint")
    limited = endpoint is not None and not getattr(endpoint, "__unlimited__", False)
    return message["status"] == 401 or (400 <= message["status"] < 500 and limited)


async def _refuse(error: RateLimitedError, scope: Scope, receive: Receive, send: Send) -> None:
    response = problem_response(
        scope,
        status=error.status,
        code=error.code,
        title=error.title,
        detail=error.detail,
        headers=error.headers,
    )
    await response(scope, receive, send)


def describe(quotas: Sequence[Quota]) -> RawHeaders:
    """Tell what is left: for new clients and for those that know the older headers.

    See https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ (11), whose drafts
    up to 06 had three headers for the limit that is reached first.
    """
    given = [(quota, quota.policy.item) for quota in quotas]
    allowed = (f'"{each.policy.name}";q={i.amount};w={i.get_expiry()}' for each, i in given)
    left = (f'"{each.policy.name}";r={each.remaining};t={each.seconds}' for each in quotas)
    tightest = min(quotas, key=lambda quota: quota.remaining)
    return [
        (b"ratelimit-policy", ", ".join(allowed).encode()),
        (b"ratelimit", ", ".join(left).encode()),
        (b"ratelimit-limit", str(tightest.policy.item.amount).encode()),
        (b"ratelimit-remaining", str(tightest.remaining).encode()),
        (b"ratelimit-reset", str(tightest.seconds).encode()),
    ]


def _default_policies(settings: LimitSettings) -> tuple[Policy, ...]:
    if settings.rate_limit_default == OFF:
        return ()
    return policies(parse_limits(settings.rate_limit_default), "default", counted="default")


def _middleware(settings: "CoreSettings") -> Sequence[Middleware]:
    limiter = Limiter(build_storage(settings))
    return [Middleware(LimitsMiddleware, limiter=limiter, default=_default_policies(settings))]


def _dependencies(settings: "CoreSettings") -> Sequence[Dependency]:
    return [Depends(count_request)] if _default_policies(settings) else []


piece = Piece(
    name="limits",
    needs=("errors",),
    dependencies=_dependencies,
    middleware=_middleware,
)
