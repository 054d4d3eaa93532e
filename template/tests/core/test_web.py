import gc
import subprocess
import sys
from collections.abc import AsyncIterator, Callable

import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from httpx2 import AsyncClient
from starlette.responses import StreamingResponse
from starlette.routing import Match
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import Scope

from app.config import Settings
from app.core.application import OBJECTS_BETWEEN_COLLECTIONS, create_app, started
from app.core.auth import public
from app.core.web import request_pass
from app.core.web.routes import Router
from tests.core.plugin import caller_of, with_changes

ORIGIN = "https://app.example.com"
SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


def build(settings: Settings, **changes: object) -> FastAPI:
    router = APIRouter()

    @router.post("/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    @router.get("/fail")
    async def fail() -> None:
        raise RuntimeError

    return create_app(with_changes(settings, **changes), routers=[router])


async def test_what_stays_is_not_looked_through_for_garbage(settings: Settings) -> None:
    gc.unfreeze()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS - 1)
    async with started(settings, ()):
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[0] == OBJECTS_BETWEEN_COLLECTIONS
    assert gc.get_freeze_count() == 0


def test_what_is_imported_is_not_looked_through_for_garbage() -> None:
    """Of the oldest, which would take longest, nothing."""
    printed = subprocess.check_output(
        [sys.executable, "-c", "import gc, app.config; print(gc.get_stats()[-1]['collections'])"],
        text=True,
    )
    assert printed == "0\n"


@pytest.mark.parametrize("sane", ["a", "3f2c-77.Z_1", "x" * 128])
async def test_a_sane_request_id_is_kept(client: AsyncClient, sane: str) -> None:
    answer = await client.get("/health", headers={"X-Request-ID": sane})
    assert answer.headers["x-request-id"] == sane


@pytest.mark.parametrize("insane", ["", "x" * 129, 'a"b', "a b", "a\tb", "<script>"])
async def test_another_request_id_is_replaced(client: AsyncClient, insane: str) -> None:
    answer = await client.get("/health", headers={"X-Request-ID": insane})
    assert answer.headers["x-request-id"] not in ("", insane)
    assert answer.headers.get_list("x-request-id") == [answer.headers["x-request-id"]]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/health", {}, 200),
        ("GET", "/no/such/path", {}, 404),
        ("GET", "/api/v1/fail", {}, 500),
        ("POST", "/api/v1/size", {"Content-Length": "99999999"}, 413),
        ("GET", "/no/such/path", {"Host": "evil.example.net"}, 400),
        ("OPTIONS", "/health", {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}, 200),
        ("OPTIONS", "/health", {"Origin": "x", "Access-Control-Request-Method": "GET"}, 400),
    ],
)
async def test_every_answer_has_an_id_and_security_headers(
    settings: Settings, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    app = build(settings, allowed_hosts=("localhost",), backend_cors_origins=(ORIGIN,))
    async with caller_of(app) as caller:
        answer = await caller.request(method, path, headers=headers)
    assert answer.status_code == status
    assert answer.headers["x-request-id"]
    assert SECURITY_HEADERS.items() <= dict(answer.headers).items()
    assert "strict-transport-security" not in answer.headers
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"


async def test_production_insists_on_https(settings: Settings) -> None:
    async with caller_of(build(settings, environment="production")) as caller:
        answer = await caller.get("/health")
    assert "max-age" in answer.headers["strict-transport-security"]


async def test_an_answer_in_parts_counts_until_it_begins(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long events go on is up to whoever reads them."""
    router, now, told = APIRouter(), [0.0], list[float]()

    @router.get("/events")
    @public
    async def events() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            for moment in (2.0, 60.0):
                now[0] = moment
                yield "data: 1\n\n"

        return StreamingResponse(parts(), media_type="text/event-stream")

    def ended(method: str, route: str, status: int, seconds: float) -> None:
        told.append(seconds)

    monkeypatch.setattr(request_pass, "perf_counter", lambda: now[0])
    app = create_app(settings, routers=[router])
    with request_pass.request_ended.heard_by(ended):
        async with caller_of(app) as caller:
            assert (await caller.get("/api/v1/events")).status_code == 200
    assert told == [2.0]


@pytest.mark.parametrize(("environment", "status"), [("development", 200), ("production", 404)])
async def test_docs_are_off_in_production(
    settings: Settings, environment: str, status: int
) -> None:
    async with caller_of(build(settings, environment=environment)) as caller:
        for path in ("/docs", "/openapi.json"):
            assert (await caller.get(path)).status_code == status
        assert (await caller.get("/redoc")).status_code == 404


async def test_docs_may_load_their_script(client: AsyncClient) -> None:
    answer = await client.get("/docs")
    assert "script-src" in answer.headers["content-security-policy"]


async def test_docs_can_be_asked_for_in_production(settings: Settings) -> None:
    app = build(settings, environment="production", docs_enabled=True)
    async with caller_of(app) as caller:
        assert (await caller.get("/docs")).status_code == 200


async def _chunks() -> AsyncIterator[bytes]:
    for _ in range(4):
        yield b"x" * 300


@pytest.mark.parametrize("make", [lambda: b"x" * 1001, _chunks], ids=["declared", "chunked"])
async def test_a_large_body_is_refused(
    settings: Settings, make: Callable[[], bytes | AsyncIterator[bytes]]
) -> None:
    async with caller_of(build(settings, max_body_bytes=1000)) as caller:
        answer = await caller.post("/api/v1/size", content=make())
        assert (await caller.post("/api/v1/size", content=b"x" * 1000)).json() == 1000
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("api.example.com", 404),
        ("api.example.com:8443", 404),
        ("API.example.com", 404),
        ("a.b.example.org", 404),
        ("example.org", 400),
        ("evil-example.org", 400),
        ("api.example.com.evil.net", 400),
        ("[::1]", 404),
        ("[::1]:8000", 404),
        ("", 400),
        ("api.example.com:@evil.net", 400),
        ("api.example.com:1/evil", 400),
    ],
)
async def test_foreign_hosts_are_refused(settings: Settings, host: str, status: int) -> None:
    app = build(settings, allowed_hosts=("api.example.com", "*.example.org", "[::1]"))
    async with caller_of(app) as caller:
        answer = await caller.get("/no/such/path", headers={"Host": host})
    assert answer.status_code == status


def test_foreign_hosts_are_refused_to_websockets_too(settings: Settings) -> None:
    caller = TestClient(build(settings, allowed_hosts=("api.example.com",)))
    headers = {"Host": "evil.example.net"}
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        caller.websocket_connect("/no/such/path", headers=headers),
    ):
        pytest.fail("it was accepted")
    assert denied.value.status_code == 400
    assert denied.value.json()["detail"] == "Unknown host"


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_probes_come_by_address(app: FastAPI, settings: Settings, path: str) -> None:
    guarded = build(settings, allowed_hosts=("api.example.com",))
    async with caller_of(guarded) as caller:
        answer = await caller.get(path, headers={"Host": "10.0.0.7:8000"})
    assert answer.status_code == 200


async def test_known_origins_may_call(settings: Settings) -> None:
    async with caller_of(build(settings, backend_cors_origins=(ORIGIN,))) as caller:
        known = await caller.get("/health", headers={"Origin": ORIGIN})
        unknown = await caller.get("/health", headers={"Origin": "https://evil.example.net"})
    assert known.headers["access-control-allow-origin"] == ORIGIN
    assert known.headers["access-control-allow-credentials"] == "true"
    assert "X-Request-ID" in known.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in unknown.headers


@pytest.mark.parametrize(
    ("header", "status"),
    [(name, 200) for name in ("traceparent", "tracestate", "x-request-timeout", "if-match")]
    + [("x-other", 400)],
)
async def test_pages_of_known_origins_may_send_what_the_service_reads(
    settings: Settings, header: str, status: int
) -> None:
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
    async with caller_of(build(settings, backend_cors_origins=(ORIGIN,))) as caller:
        answer = await caller.options(
            "/health", headers={**asked, "Access-Control-Request-Headers": header}
        )
    assert answer.status_code == status


async def test_any_origin_goes_without_cookies(settings: Settings) -> None:
    async with caller_of(build(settings, backend_cors_origins=("*",))) as caller:
        answer = await caller.get("/health", headers={"Origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


async def test_a_router_tries_its_routes_for_no_path_that_lies_elsewhere(
    settings: Settings,
) -> None:
    tried = set()

    class Telling(APIRoute):
        def matches(self, scope: Scope) -> tuple[Match, Scope]:
            tried.add(scope["path"])
            return super().matches(scope)

    @public
    async def room(name: str) -> str:
        return name

    router = Router(prefix="/houses/{number}/rooms", route_class=Telling)
    router.get("/{name}")(room)
    kitchen = "/api/v1/houses/3/rooms/kitchen"
    async with caller_of(create_app(settings, routers=[router])) as caller:
        assert (await caller.get(kitchen)).json() == "kitchen"
        for path in ("/health", "/api/v1/houses/3/rooms", "/api/v1/rooms/kitchen"):
            assert (await caller.get(path)).status_code == (200 if path == "/health" else 404)
    assert tried == {kitchen}


async def test_a_router_knows_of_routes_and_routers_that_came_late(settings: Settings) -> None:
    @public
    async def where(request: Request) -> str:
        return request.url.path

    late = Router()
    inner = Router(prefix="/inner")
    async with caller_of(create_app(settings, routers=[late])) as caller:
        assert (await caller.get("/api/v1/late")).status_code == 404
        late.get("/late")(where)
        assert (await caller.get("/api/v1/late")).json() == "/api/v1/late"
        inner.get("/{name}")(where)
        late.include_router(inner)
        assert (await caller.get("/api/v1/inner/a")).json() == "/api/v1/inner/a"
