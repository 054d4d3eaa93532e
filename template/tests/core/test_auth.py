"""Who is let in, whatever provider issues the tokens."""

import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.routing import iter_route_contexts
from httpx2 import AsyncClient
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.testclient import TestClient, WebSocketDenialResponse

from app.config import Settings
from app.core.application import create_app
from app.core.auth import CurrentPrincipal, OptionalPrincipal, public, require_role, require_scope
from app.core.auth.access import is_public
from app.core.auth.settings import IssuerUrl
from app.core.auth.tokens import TokenRules
from tests.core.issuing.base import Issuer, bearer
from tests.core.issuing.provider import PUBLIC
from tests.core.log import AuditLog
from tests.core.plugin import caller_of, with_changes

ME = "/api/v1/auth/me"
OPEN = {
    "/health/detailed",
    "/api/v1/public/health",
    "/api/v1/public/health/ready",
}
"""What the foundation leaves open besides its probes; the service's own are marked in its code."""

router = APIRouter()


@router.get("/open")
@public
async def opened(principal: OptionalPrincipal) -> str | None:
    return principal.subject if principal else None


@router.get("/closed")
async def closed(principal: CurrentPrincipal) -> str:
    return principal.subject


@router.get("/open-to-some")
@public
async def open_to_some(principal: CurrentPrincipal) -> str:
    return principal.subject


@router.get("/auditors", dependencies=[Depends(require_role("auditor", "admin"))])
async def auditors() -> None:
    """Only for those with a role."""


@router.get("/writers", dependencies=[Depends(require_scope("read", "write"))])
async def writers() -> None:
    """Only for those with two scopes."""


class Text(BaseModel):
    """A body."""

    text: str


@router.post("/texts")
async def store(text: Text) -> str:
    return text.text


@router.post("/open-texts")
@public
async def store_openly(text: Text, principal: OptionalPrincipal) -> str | None:
    return principal.subject if principal else None


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


@pytest.mark.parametrize(
    "address",
    ["login.example.com", "ftp://a.b", "https://", "https://a.b?c", "https://a.b#c", "https://a@b"],
)
def test_what_cannot_be_an_issuer_is_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="must be an address"):
        TypeAdapter(IssuerUrl).validate_python(address)


async def test_a_public_endpoint_may_want_a_caller(caller: AsyncClient, issuer: Issuer) -> None:
    answer = await caller.get("/api/v1/open-to-some")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    answer = await caller.get("/api/v1/open-to-some", headers=bearer(issuer.token("ada")))
    assert answer.json() == "ada"


async def test_whatever_is_not_public_wants_a_token(app: FastAPI, stranger: AsyncClient) -> None:
    closed = list(endpoints(app))
    assert ("GET", ME) in closed
    for method, path in closed:
        answer = await stranger.request(method, path)
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["code"] == "unauthenticated"


def test_only_what_is_meant_to_be_open_is_open(app: FastAPI, settings: Settings) -> None:
    foundations = {
        str(route.path_format)
        for route in iter_route_contexts(app.routes)
        if is_public(route.endpoint) and route.endpoint.__module__.startswith("app.core.")
    }
    assert foundations == OPEN | PUBLIC | set(settings.probe_paths())


async def test_the_document_says_what_is_closed(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    assert paths[ME]["get"]["security"] == [{"bearer": []}]
    assert "security" not in paths["/health"]["get"]


def test_the_document_says_what_is_open_and_takes_a_token(service: FastAPI) -> None:
    document = service.openapi()

    def security(path: str) -> object:
        (operation,) = document["paths"][path].values()
        return operation.get("security")

    assert security("/api/v1/open") == [{}, {"bearer": []}]
    assert security("/health/detailed") == [{}, {"bearer": []}]
    assert security("/api/v1/open-to-some") == [{"bearer": []}], "it is refused without one"
    assert service.openapi() == document


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


BODIES: dict[str, dict[str, Any]] = {
    "none": {},
    "no JSON": {"content": b"{", "headers": {"Content-Type": "application/json"}},
    "no object": {"json": 5},
    "another object": {"json": {"more": 1}},
    "a form": {"data": {"text": "a"}},
    "a broken form": {
        "content": b"--x\r\n",
        "headers": {"Content-Type": "multipart/form-data; boundary=x"},
    },
    "a file": {"files": {"file": b"abc"}},
}


@pytest.mark.parametrize("body", BODIES)
async def test_strangers_are_told_so_whatever_they_send(
    body: str, caller: AsyncClient, issuer: Issuer
) -> None:
    path, sent = "/api/v1/texts", BODIES[body]
    answer = await caller.post(path, **sent)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["code"] == "unauthenticated"
    headers = {**sent.get("headers", {}), **bearer("nonsense")}
    answer = await caller.post(path, **{**sent, "headers": headers})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    headers = {**sent.get("headers", {}), **bearer(issuer.token())}
    answer = await caller.post(path, **{**sent, "headers": headers})
    assert answer.status_code == 422


async def test_a_stranger_s_body_is_not_read(caller: AsyncClient, issuer: Issuer) -> None:
    read = []

    async def body() -> AsyncIterator[bytes]:
        for part in b'{"text":', b'"a"}':
            read.append(part)
            yield part

    headers = {"Content-Type": "application/json"}
    answer = await caller.post("/api/v1/texts", content=body(), headers=headers)
    assert (answer.status_code, read) == (401, [])
    headers |= bearer(issuer.token())
    answer = await caller.post("/api/v1/texts", content=body(), headers=headers)
    assert (answer.json(), len(read)) == ("a", 2)


async def test_public_endpoints_read_whatever_strangers_send(
    caller: AsyncClient, issuer: Issuer
) -> None:
    path = "/api/v1/open-texts"
    for headers in {}, bearer("nonsense"):
        assert (await caller.post(path, json={"text": "a"}, headers=headers)).json() is None
        assert (await caller.post(path, json={}, headers=headers)).status_code == 422
    headers = bearer(issuer.token("ada"))
    assert (await caller.post(path, json={"text": "a"}, headers=headers)).json() == "ada"


def test_a_web_socket_is_closed_too(
    service: FastAPI, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    caller = TestClient(service)
    for headers, challenge in (
        ({}, "Bearer"),
        (bearer("nonsense"), 'Bearer error="invalid_token"'),
    ):
        with (
            pytest.raises(WebSocketDenialResponse) as denied,
            caller.websocket_connect("/api/v1/talk", headers=headers),
        ):
            pass
        assert denied.value.status_code == 401
        assert denied.value.headers["WWW-Authenticate"] == challenge
        assert denied.value.json()["code"] == "unauthenticated"
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    with caller.websocket_connect("/api/v1/talk", headers=bearer(issuer.token("ada"))) as socket:
        assert socket.receive_text() == "ada"


async def test_a_bad_token_is_told_of_and_a_missing_one_is_not(
    service: FastAPI, caller: AsyncClient, settings: Settings
) -> None:
    log = AuditLog(settings)
    await caller.get("/api/v1/closed", headers={"X-Request-ID": "without"})
    await caller.get("/api/v1/closed", headers={**bearer("nonsense"), "X-Request-ID": "bad"})
    (line,) = log.lines()
    assert (line["event"], line["request_id"]) == ("token.refused", "bad")
    assert "nonsense" not in str(line)


async def test_a_flood_without_a_token_is_slowed_down(settings: Settings) -> None:
    app = create_app(with_changes(settings, rate_limit_default="2/day"), routers=[router])
    async with caller_of(app, headers={}) as flood, caller_of(app) as known:
        statuses = [(await flood.get("/api/v1/closed")).status_code for _ in range(4)]
        assert statuses == [401, 401, 429, 429]
        refused = await flood.get("/api/v1/closed")
        assert refused.json()["code"] == "rate_limited"
        assert refused.headers["ratelimit-remaining"] == "0"
        assert int(refused.headers["retry-after"]) > 0
        assert "www-authenticate" not in refused.headers
        assert (await flood.get("/api/v1/open")).status_code == 429
        answers = [await known.get("/api/v1/open") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]


def test_a_shared_secret_is_not_printed() -> None:
    assert "hunter2" not in repr(TokenRules(provider="a", issuer="b", secret="hunter2"))  # noqa: S106
