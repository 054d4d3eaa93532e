"""The dependency of every endpoint: reads the token and remembers for whom it speaks."""

from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection

from app.core import context
from app.core.auth.access import is_public
from app.core.auth.principal import Principal
from app.core.auth.tokens import Verifier
from app.core.errors import AppException, UnauthenticatedError


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
        try:
            context.principal.set(await self._principal(request))
        except AppException:
            if not is_public(request.scope["endpoint"]):
                raise
            context.principal.set(None)

    async def _principal(self, request: HTTPConnection) -> Principal:
        given = request.headers.getlist("authorization")
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        if scheme.lower() != "bearer" or not token.strip():
            raise UnauthenticatedError("This needs a token: send `Authorization: Bearer <token>`")
        return await self.verifier.principal(token.strip())
