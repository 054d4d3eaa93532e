"""The exceptions that an endpoint may raise, and how each is answered.

Raise the one that fits, with a detail that tells the caller what to do. Anything else that is
raised becomes a 500 without its text: exception texts carry addresses and data.
"""

from typing import Any, ClassVar

import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.audit import audit_refusal
from app.core.piece import Piece
from app.core.problems import PROBLEM_MEMBERS, problem_response
from app.core.signals import Signal
from app.core.web.routes import allowed_methods

log = structlog.get_logger(logger_name="app.errors")

unexpected: Signal[[Exception]] = Signal()
"""Told of each failure that nobody expected: of a request answered by 500, of a job given up."""

MOST_ERRORS = 50
"""How many faults of a request are listed: a body of unknown fields must not make a huge answer."""


class AppException(Exception):  # noqa: N818 - the base is a name for users, not an error itself
    """Base of all answers that are not a success.

    Args:
        detail: one sentence for the caller about this occurrence.
        headers: sent with the answer.
        extensions: further members of the problem body.

    Raises:
        TypeError: an extension has the name of a member that every problem has.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"

    def __init__(
        self, detail: str | None = None, *, headers: dict[str, str] | None = None, **extensions: Any
    ) -> None:
        if taken := sorted(PROBLEM_MEMBERS & extensions.keys()):
            raise TypeError(f"every problem has the member {taken[0]!r}: name the extension else")
        super().__init__(detail or self.title)
        self.detail = detail
        self.headers = headers or {}
        self.extensions = extensions


class BadRequestError(AppException):
    """The request makes no sense, whatever the state of the service."""

    status = 400
    code = "bad_request"
    title = "Bad request"


class UnauthenticatedError(AppException):
    """Nobody knows who is asking (401; the answer says how to sign in)."""

    status = 401
    code = "unauthenticated"
    title = "Sign in first"

    def __init__(self, detail: str | None = None, *, challenge: str = "Bearer") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": challenge})


class ForbiddenError(AppException):
    """It is known who is asking, and they may not."""

    status = 403
    code = "forbidden"
    title = "Not allowed"


class NotFoundError(AppException):
    """There is no such thing, or the caller may not know of it."""

    status = 404
    code = "not_found"
    title = "Not found"


class ConflictError(AppException):
    """The request contradicts what is stored."""

    status = 409
    code = "conflict"
    title = "Conflict"


class PreconditionFailedError(AppException):
    """What the caller last saw is no longer the state of the thing."""

    status = 412
    code = "precondition_failed"
    title = "Precondition failed"


class PayloadTooLargeError(AppException):
    """The body is larger than `MAX_BODY_BYTES`."""

    status = 413
    code = "payload_too_large"
    title = "Payload too large"


class ValidationFailedError(AppException):
    """The request is understood, but its values are refused."""

    status = 422
    code = "validation_failed"
    title = "Validation failed"


class RateLimitedError(AppException):
    """Too many requests; `retry_after` is in seconds."""

    status = 429
    code = "rate_limited"
    title = "Too many requests"

    def __init__(self, detail: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class ExternalServiceError(AppException):
    """Another service answered with nonsense or an error."""

    status = 502
    code = "external_service"
    title = "Another service failed"


class ServiceUnavailableError(AppException):
    """Something that the service needs does not answer; `retry_after` is in seconds."""

    status = 503
    code = "service_unavailable"
    title = "Temporarily unavailable"

    def __init__(self, detail: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class DeadlineExceededError(AppException):
    """Another service did not answer in time."""

    status = 504
    code = "timeout"
    title = "Timed out"


async def answer_app_exception(request: Request, error: AppException) -> Response:
    """Answer an exception of this module."""
    audit_refusal(request, error.status, error.code)
    return problem_response(
        request.scope,
        status=error.status,
        code=error.code,
        title=error.title,
        detail=error.detail,
        headers=error.headers,
        **error.extensions,
    )


_BY_STATUS: dict[int, type[AppException]] = {
    error.status: error for error in AppException.__subclasses__()
}


async def answer_http_exception(request: Request, error: HTTPException) -> Response:
    """Answer what the framework itself raises, such as an unknown path or method."""
    known = _BY_STATUS.get(error.status_code)
    code = known.code if known else f"http_{error.status_code}"
    audit_refusal(request, error.status_code, code)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(allowed_methods(request.app, request.scope["path"])))
    return problem_response(
        request.scope,
        status=error.status_code,
        code=code,
        title=known.title if known else error.detail,
        detail=error.detail,
        headers=headers,
    )


async def answer_invalid_request(request: Request, error: RequestValidationError) -> Response:
    """Answer a request that does not fit its schema; the refused values are not repeated."""
    errors = [
        {"loc": list(item["loc"]), "msg": item["msg"], "type": item["type"]}
        for item in error.errors()[:MOST_ERRORS]
    ]
    failed = ValidationFailedError("The request does not fit the schema: see errors", errors=errors)
    return await answer_app_exception(request, failed)


class ErrorBoundary:
    """Turns what nobody caught into a 500 problem, inside CORS so that browsers can read it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception as error:
            log.exception("unhandled exception", method=scope["method"], path=scope["path"])
            unexpected(error)
            if started:
                raise
            response = problem_response(
                scope, status=500, code=AppException.code, title=AppException.title
            )
            await response(scope, receive, send)


piece = Piece(
    name="errors",
    middleware=lambda _: [Middleware(ErrorBoundary)],
    handlers={
        AppException: answer_app_exception,
        HTTPException: answer_http_exception,
        RequestValidationError: answer_invalid_request,
    },
)
