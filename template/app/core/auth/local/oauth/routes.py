"""The endpoints of sign-in through others; without a configured provider there are none."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response, status
from starlette.responses import RedirectResponse

from app.core.auth.access import public
from app.core.auth.local.oauth import handshake
from app.core.auth.local.oauth.linking import sign_in
from app.core.auth.local.oauth.providers import Provider, configured
from app.core.auth.local.parts import OriginDep, SettingsDep
from app.core.auth.local.realms.realm import Realm, entered, find_asked
from app.core.auth.local.routes import never_store
from app.core.auth.local.schemas import Tokens
from app.core.auth.local.sessions import Pair
from app.core.auth.local.settings import LocalSettings
from app.core.errors import UnauthenticatedError
from app.core.limits import rate_limit
from app.core.web.routes import Router

LONGEST = 4096
MOST = "60/minute"
"""Each costs the provider a request or two, which must not tire of this service."""
RealmDep = Annotated[Realm, Depends(find_asked)]


def oauth_router(settings: LocalSettings) -> APIRouter:
    """Make two endpoints for each provider that is configured."""
    router = Router(prefix="/oauth", tags=["auth"], dependencies=[Depends(rate_limit(MOST))])
    for provider in configured(settings):
        name = provider.name
        router.get(
            f"/{name}",
            name=f"begin_{name}",
            response_class=RedirectResponse,
            status_code=status.HTTP_303_SEE_OTHER,
        )(_begin(provider))
        router.get(f"/{name}/callback", name=f"finish_{name}", response_model=Tokens)(
            _finish(provider)
        )
    return router


def _begin(provider: Provider) -> Callable[..., Awaitable[str]]:
    @public
    async def begin(settings: SettingsDep, realm: RealmDep, response: Response) -> str:
        """Send the browser to the provider."""
        begun, cookie = handshake.begin(settings, provider.name, realm)
        address = await provider.address(begun)
        response.set_cookie(
            handshake.cookie_of(provider.name),
            cookie,
            max_age=int(handshake.LIFETIME.total_seconds()),
            path=_path(settings),
            secure=settings.jwt_issuer.startswith("https:"),
            httponly=True,
            samesite="lax",
        )
        await never_store(response)
        return address

    return begin


def _finish(provider: Provider) -> Callable[..., Awaitable[Pair]]:
    @public
    async def finish(
        request: Request,
        response: Response,
        settings: SettingsDep,
        origin: OriginDep,
        code: Annotated[str | None, Query(max_length=LONGEST)] = None,
        state: Annotated[str | None, Query(max_length=LONGEST)] = None,
        iss: Annotated[str | None, Query(max_length=LONGEST)] = None,
    ) -> Pair:
        """Sign in whoever comes back from the provider."""
        cookie = handshake.cookie_of(provider.name)
        begun = handshake.resume(settings, provider.name, request.cookies.get(cookie), state)
        if code is None:
            raise UnauthenticatedError("The provider has not signed you in")
        identity = await provider.identify(code, begun, iss)
        with entered(begun.realm):
            pair = await sign_in(settings, identity, origin)
        response.delete_cookie(cookie, path=_path(settings))
        await never_store(response)
        return pair

    return finish


def _path(settings: LocalSettings) -> str:
    return f"{settings.api_v1_str}/auth/oauth"
