"""How rate limits attach themselves to the service."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastapi import Depends, Request, Response
from fastapi.params import Depends as Dependency
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import RateLimitedError, UnauthenticatedError, answer_app_exception
from app.core.limits.limiter import (
    SCOPE_KEY,
    Counting,
    Limiter,
    Policy,
    Quota,
    count_request,
    counting,
    parse_limits,
    policies,
)
from app.core.limits.settings import OFF, LimitSettings
from app.core.limits.storage import build_storage
from app.core.piece import Piece

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

RawHeaders = list[tuple[bytes, bytes]]


class LimitsMiddleware:
    """Brings the limiter to the request, and what is left to the answer's headers."""

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

        async def send_with_quotas(message: Message) -> None:
            if message["type"] == "http.response.start" and counted.quotas:
                message["headers"] = [*message.get("headers", ()), *describe(counted.quotas)]
            await send(message)

        await self.app(scope, receive, send_with_quotas)


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


async def answer_stranger(request: Request, error: UnauthenticatedError) -> Response:
    """Count those too whom authentication has refused before anything else could look at them."""
    try:
        await counting(request).count_by_default(request)
    except RateLimitedError as limited:
        return await answer_app_exception(request, limited)
    return await answer_app_exception(request, error)


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
    handlers={UnauthenticatedError: answer_stranger},
)
