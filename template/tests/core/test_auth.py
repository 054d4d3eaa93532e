"""Who is let in, whatever provider issues the tokens."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.routing import iter_route_contexts
from httpx2 import AsyncClient
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from app.config import Settings
from app.core.application import create_app
from app.core.auth import CurrentPrincipal, OptionalPrincipal, public, require_role, require_scope
from app.core.auth.access import is_public
from tests.core.issuing.base import Issuer, bearer
from tests.core.issuing.provider import PUBLIC
from tests.core.plugin import caller_of

ME = "/api/v1/auth/me"
OPEN = {
    "/health",
    "/ready",
    "/health/detailed",
    "/api/v1/public/health",
    "/api/v1/public/health/ready",
}
"""What the foundation leaves open; the service's own public endpoints are marked in its code."""

router = APIRouter()


@router.get("/open")
@public
async def opened(principal: OptionalPrincipal) -> str | None:
    return principal.subject if principal else None


@router.get("/closed")
async def closed(principal: CurrentPrincipal) -> str:
    return principal.subject


@router.get("/auditors", dependencies=[Depends(require_role("auditor", "admin"))])
async def auditors() -> None:
    """Only for those with a role."""


@router.get("/writers", dependencies=[Depends(require_scope("read", "write"))])
async def writers() -> None:
    """Only for those with two scopes."""


@router.websocket("/talk")
async def talk(socket: WebSocket, principal: CurrentPrincipal) -> None:
    await socket.accept()
    await socket.send_text(principal.subject)


@pytest.fixture
def service(settings: Settings, app: FastAPI) -> FastAPI:
    return create_app(settings, routers=[router])


@pytest.fixture
async def caller(service: FastAPI, rolled_back: None) -> AsyncIterator[AsyncClient]:
    async with caller_of(service, headers={}) as caller:
        yield caller


def endpoints(app: FastAPI) -> Iterator[tuple[str, str]]:
    for route in iter_route_contexts(app.routes):
        if not is_public(route.endpoint) and route.include_in_schema:
            for method in route.methods or ():
                yield method, str(route.path_format)


async def test_whatever_is_not_public_wants_a_token(app: FastAPI, stranger: AsyncClient) -> None:
    closed = list(endpoints(app))
    assert ("GET", ME) in closed
    for method, path in closed:
        answer = await stranger.request(method, path)
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["code"] == "unauthenticated"


def test_only_what_is_meant_to_be_open_is_open(app: FastAPI) -> None:
    foundations = {
        str(route.path_format)
        for route in iter_route_contexts(app.routes)
        if is_public(route.endpoint) and route.endpoint.__module__.startswith("app.core.")
    }
    assert foundations == OPEN | PUBLIC


async def test_the_document_says_what_is_closed(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    assert paths[ME]["get"]["security"] == [{"bearer": []}]
    assert "security" not in paths["/health"]["get"]


async def test_a_token_says_who_calls(caller: AsyncClient, issuer: Issuer) -> None:
    token = issuer.token("ada", tenant="acme", roles=["auditor", "admin"], scopes=["read"])
    me = (await caller.get(ME, headers=bearer(token))).json()
    assert (me["subject"], me["tenant"]) == ("ada", "acme")
    assert {"auditor", "admin"} <= set(me["roles"])
    assert me["scopes"] == ["read"]


async def test_a_token_without_more_has_no_rights(caller: AsyncClient, issuer: Issuer) -> None:
    me = (await caller.get(ME, headers=bearer(issuer.token()))).json()
    assert (me["tenant"], me["roles"], me["scopes"]) == (None, [], [])


async def test_public_endpoints_know_callers_with_a_token(
    caller: AsyncClient, issuer: Issuer
) -> None:
    path = "/api/v1/open"
    assert (await caller.get(path)).json() is None
    assert (await caller.get(path, headers=bearer(issuer.token("ada")))).json() == "ada"
    assert (await caller.get(path, headers=bearer("nonsense"))).json() is None


async def test_nobody_stays_signed_in_for_the_next_request(
    caller: AsyncClient, issuer: Issuer
) -> None:
    await caller.get("/api/v1/closed", headers=bearer(issuer.token("ada")))
    assert (await caller.get("/api/v1/open")).json() is None
    assert (await caller.get("/api/v1/closed")).status_code == 401


async def test_roles_and_scopes(caller: AsyncClient, issuer: Issuer) -> None:
    async def status(path: str, **rights: Any) -> int:
        token = issuer.token("ada", **rights)
        return (await caller.get(f"/api/v1/{path}", headers=bearer(token))).status_code

    assert await status("auditors", roles=["auditor"]) == 200
    assert await status("auditors", roles=["clerk"]) == 403
    assert await status("auditors", scopes=["auditor"]) == 403
    assert await status("writers", scopes=["write", "read", "more"]) == 200
    assert await status("writers", scopes=["write"]) == 403
    assert await status("writers", roles=["read", "write"]) == 403


async def test_a_missing_scope_is_named(caller: AsyncClient, issuer: Issuer) -> None:
    answer = await caller.get("/api/v1/writers", headers=bearer(issuer.token()))
    challenge = 'Bearer error="insufficient_scope", scope="read write"'
    assert answer.headers["WWW-Authenticate"] == challenge
    assert "read write" in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "")],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer  ")],
        [("Authorization", "Basic YTpi")],
        [("Authorization", "bearer\ttoken")],
    ],
)
async def test_other_ways_to_sign_in_are_none(
    caller: AsyncClient, headers: list[tuple[str, str]]
) -> None:
    assert (await caller.get("/api/v1/closed", headers=headers)).status_code == 401


async def test_one_token_at_a_time(caller: AsyncClient, issuer: Issuer) -> None:
    twice = [("Authorization", f"Bearer {issuer.token(name)}") for name in ("ada", "bob")]
    assert (await caller.get("/api/v1/closed", headers=twice)).status_code == 401


def test_a_web_socket_is_closed_too(service: FastAPI, issuer: Issuer) -> None:
    caller = TestClient(service)
    with (
        pytest.raises((WebSocketDisconnect, WebSocketDenialResponse)),
        caller.websocket_connect("/api/v1/talk"),
    ):
        pass
    with caller.websocket_connect("/api/v1/talk", headers=bearer(issuer.token("ada"))) as socket:
        assert socket.receive_text() == "ada"


async def test_administrators_read_the_details_from_anywhere(app: FastAPI, issuer: Issuer) -> None:
    for roles, status in (["admin"], 200), (["auditor"], 403):
        headers = bearer(issuer.token(roles=roles))
        async with caller_of(app, "203.0.113.9", headers) as caller:
            assert (await caller.get("/health/detailed")).status_code == status
