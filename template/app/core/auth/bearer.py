"""What asks every caller for a token, and remembers for whom it speaks."""

from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core import context
from app.core.auth.access import is_public
from app.core.auth.principal import Principal
from app.core.auth.tokens import TokenRefusedError, Verifier
from app.core.errors import AppException, UnauthenticatedError
from app.core.signals import Signal

token_refused: Signal[[str]] = Signal()
"""Told of each token that is not accepted: why, in one word."""

_VERIFIED = "app.principal"


class Bearer(HTTPBearer):
    """Closes every endpoint that is not public to callers without a valid token (RFC 6750)."""

    def __init__(self, verifier: Verifier) -> None:
        super().__init__(scheme_name="bearer", bearerFormat="JWT", auto_error=False)
        self.verifier = verifier

    async def __call__(self, request: HTTPConnection) -> None:
        """Find out who is asking.

        Raises:
            UnauthenticatedError: nobody, or nobody can tell, and the endpoint is not public.
            ServiceUnavailableError: the issuer's keys cannot be had.
        """
        if _VERIFIED not in request.scope:
            request.scope[_VERIFIED] = await self._whoever_may(request)
        context.principal.set(request.scope[_VERIFIED])

    async def _whoever_may(self, request: HTTPConnection) -> Principal | None:
        try:
            return await self._principal(request)
        except AppException as error:
            if isinstance(error, TokenRefusedError):
                token_refused(error.reason)
            if is_public(request.scope["endpoint"]):
                return None
            raise

    async def _principal(self, request: HTTPConnection) -> Principal:
        given = request.headers.getlist("authorization")
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        if scheme.lower() != "bearer" or not token.strip():
            raise UnauthenticatedError("This needs a token: send `Authorization: Bearer <token>`")
        return await self.verifier.principal(token.strip())


class TokenBeforeBody:
    """Asks for the token before the body is read: strangers get 401, whatever they send.

    FastAPI reads and parses a body before all dependencies, so `Bearer` alone would let anybody
    upload, and answer 422 to strangers. Here the first reading by a closed endpoint asks.
    """

    def __init__(self, app: ASGIApp, bearer: Bearer) -> None:
        self.app = app
        self.bearer = bearer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def ask_and_receive() -> Message:
            # Other middleware may read before the endpoint is known; it is asked nothing.
            if _VERIFIED not in scope and "endpoint" in scope:
                try:
                    await self.bearer(HTTPConnection(scope))
                except AppException as error:
                    # Of all exceptions FastAPI lets only this one through while it reads.
                    raise HTTPException(error.status, error.detail, error.headers) from error
            return await receive()

        await self.app(scope, ask_and_receive, send)
