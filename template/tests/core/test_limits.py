"""How often a caller may ask, and who counts as one caller."""

from collections.abc import AsyncIterator
from typing import Any, Never

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from httpx2 import AsyncClient
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.requests import HTTPConnection

from app.config import Settings
from app.core import context
from app.core.application import create_app
from app.core.auth import Principal, public
from app.core.errors import piece as errors
from app.core.limits import rate_limit
from app.core.limits.limiter import _caller, parse_limits
from app.core.limits.memory import SHARES, BoundedStorage
from app.core.limits.piece import piece as limits
from app.core.piece import Piece
from tests.core.plugin import SIGNED_IN, caller_of, with_changes

OPEN = "/api/v1/open"


class Clock:
    """A time that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.5

    def __call__(self) -> float:
        return self.now


class Unreachable(BoundedStorage):
    """Counts nothing, as a server that is away."""

    async def acquire_sliding_window_entry(self, *_: object, **__: object) -> Never:
        raise ConnectionError


def build(settings: Settings, limit: str = "off") -> FastAPI:
    router = APIRouter()

    @router.get("/open")
    @public
    async def opened() -> str:
        return "open"

    @router.get("/closed")
    async def closed() -> str:
        return "closed"

    @router.post("/body")
    @public
    async def with_body(body: dict[str, str]) -> None: ...

    @router.get("/raw")
    async def raw() -> Response:
        return Response("raw")

    @router.get("/passed-on")
    async def passed_on() -> Response:
        return Response(headers={"RateLimit": '"theirs";r=7;t=1', "RateLimit-Limit": "8"})

    few = APIRouter(prefix="/few", dependencies=[Depends(rate_limit("2/minute"))])
    few.get("/a")(opened)
    few.get("/b")(opened)
    together = APIRouter(
        prefix="/together", dependencies=[Depends(rate_limit("2/minute", name="all"))]
    )
    together.get("/a")(opened)
    together.get("/b")(opened)
    guarded = [Depends(rate_limit("2/minute", fail_open=False))]
    router.get("/guarded", dependencies=guarded)(opened)
    twice = [Depends(rate_limit("3/second; 5/hour"))]
    router.get("/twice", dependencies=twice)(opened)
    changed = with_changes(settings, rate_limit_default=limit)
    return create_app(changed, routers=[router, few, together])


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of all storages: no minute ends in the midst of a test."""
    clock = Clock()
    monkeypatch.setattr("app.core.limits.piece.build_storage", lambda _: BoundedStorage(9, clock))
    return clock


@pytest.fixture
async def caller(settings: Settings, clock: Clock) -> AsyncIterator[AsyncClient]:
    async with caller_of(build(settings, "3/minute"), headers={}) as caller:
        yield caller


async def statuses(caller: AsyncClient, path: str, times: int) -> list[int]:
    return [(await caller.get(path)).status_code for _ in range(times)]


async def test_one_too_many_is_a_problem_that_says_when_to_come_back(caller: AsyncClient) -> None:
    assert await statuses(caller, OPEN, 3) == [200, 200, 200]
    answer = await caller.get(OPEN)
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert 1 <= int(answer.headers["retry-after"]) <= 60


async def test_it_works_again_after_that_time(caller: AsyncClient, clock: Clock) -> None:
    await statuses(caller, OPEN, 3)
    for _ in range(5):
        answer = await caller.get(OPEN)
        assert answer.status_code == 429
        clock.now += int(answer.headers["retry-after"])
        assert (await caller.get(OPEN)).status_code == 200


async def test_no_time_of_a_minute_lets_more_pass(caller: AsyncClient, clock: Clock) -> None:
    """A window that begins anew would let twice as many pass around its beginning."""
    clock.now += 59.9 - clock.now % 60
    assert await statuses(caller, OPEN, 4) == [200, 200, 200, 429]
    clock.now += 0.2
    assert sum(status == 200 for status in await statuses(caller, OPEN, 3)) <= 1
    clock.now += 120
    assert await statuses(caller, OPEN, 3) == [200, 200, 200]


async def test_headers_say_what_is_left(caller: AsyncClient) -> None:
    for left in (2, 1, 0):
        headers = (await caller.get(OPEN)).headers
        assert headers["ratelimit-policy"] == '"default";q=3;w=60'
        assert headers["ratelimit"] == f'"default";r={left};t={headers["ratelimit-reset"]}'
        assert (headers["ratelimit-limit"], headers["ratelimit-remaining"]) == ("3", str(left))
    assert (await caller.get(OPEN)).headers["ratelimit-remaining"] == "0"


async def test_every_answer_says_it(settings: Settings) -> None:
    async with caller_of(build(settings, "9/minute")) as caller:
        for path in ("open", "raw", "few/a"):
            assert "ratelimit" in (await caller.get(f"/api/v1/{path}")).headers
        assert (
            '"endpoint";q=2;w=60'
            in ((await caller.get("/api/v1/few/a")).headers["ratelimit-policy"])
        )


async def test_what_another_service_says_of_itself_is_replaced(settings: Settings) -> None:
    async with caller_of(build(settings, "3/minute")) as caller:
        headers = (await caller.get("/api/v1/passed-on")).headers
    assert headers.get_list("ratelimit-limit") == ["3"]
    assert headers.get_list("ratelimit") == [f'"default";r=2;t={headers["ratelimit-reset"]}']


async def test_an_endpoint_or_several_have_limits_of_their_own(settings: Settings) -> None:
    async with caller_of(build(settings)) as caller:
        assert "ratelimit" not in (await caller.get(OPEN)).headers
        for path in ("/api/v1/few/a", "/api/v1/few/b"):
            assert await statuses(caller, path, 3) == [200, 200, 429]
        assert await statuses(caller, "/api/v1/together/a", 1) == [200]
        assert await statuses(caller, "/api/v1/together/b", 2) == [200, 429]


async def test_several_limits_hold_together(settings: Settings, clock: Clock) -> None:
    clock.now += 1800 - clock.now % 3600
    async with caller_of(build(settings)) as caller:
        assert await statuses(caller, "/api/v1/twice", 4) == [200, 200, 200, 429]
        clock.now += 2
        assert await statuses(caller, "/api/v1/twice", 3) == [200, 200, 429]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("2001:db8::1", "2001:db8:0:0:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("nonsense", "other nonsense", True),
        ("x" * 65, "nonsense", True),
    ],
)
async def test_who_counts_as_one_caller(
    settings: Settings, first: str, second: str, *, same: bool
) -> None:
    app = build(settings, "1/minute")
    async with caller_of(app, first, {}) as one, caller_of(app, second, {}) as another:
        assert (await one.get(OPEN)).status_code == 200
        assert (await another.get(OPEN)).status_code == (429 if same else 200)


async def test_probes_are_never_limited(settings: Settings, caller: AsyncClient) -> None:
    for path in ("/health", "/ready", f"{settings.api_v1_str}/public/health"):
        assert 429 not in await statuses(caller, path, 5)


async def test_callers_without_a_token_are_counted_by_address(settings: Settings) -> None:
    """Whether authentication refuses them (401) or not: a flood is slowed down."""
    app = build(settings, "3/minute")
    async with caller_of(app, headers={}) as flood, caller_of(app) as known:
        closed = await statuses(flood, "/api/v1/closed", 3)
        assert set(closed) <= {200, 401}
        refused = await flood.get("/api/v1/closed", headers={"Authorization": "Bearer nonsense"})
        assert refused.status_code == 429
        assert await statuses(flood, OPEN, 1) == [429]
        # Those with a token are others, even at the same address.
        assert await statuses(known, OPEN, 1) == [200 if SIGNED_IN else 429]


async def test_bodies_that_nobody_can_read_are_counted(caller: AsyncClient) -> None:
    sent = {"content": b"{", "headers": {"Content-Type": "application/json"}}
    answers = [await caller.post("/api/v1/body", **sent) for _ in range(4)]  # type: ignore[arg-type]
    assert [answer.status_code for answer in answers] == [422, 422, 422, 429]


@pytest.mark.parametrize("different", ["subject", "provider", "tenant"])
async def test_each_principal_is_counted_alone(settings: Settings, different: str) -> None:
    async def become(request: Request) -> None:
        named: dict[str, Any] = dict(request.query_params)
        context.principal.set(Principal(**named))

    sign_in = Piece(name="sign in", dependencies=lambda _: [Depends(become)])
    limited = with_changes(settings, rate_limit_default="1/minute")
    router = APIRouter()
    router.get("/open")(_nothing)
    app = create_app(limited, routers=[router], pieces=[errors, sign_in, limits])

    ada = {"subject": "ada", "provider": "oidc", "tenant": "acme"}
    async with caller_of(app, "192.0.2.1") as here, caller_of(app, "192.0.2.2") as there:
        assert (await here.get(OPEN, params=ada)).status_code == 200
        assert (await there.get(OPEN, params=ada)).status_code == 429
        assert (await here.get(OPEN, params={**ada, different: "other"})).status_code == 200


async def _nothing() -> None: ...


async def test_requests_pass_or_not_while_nobody_can_count(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.core.limits.piece.build_storage", lambda _: Unreachable())
    async with caller_of(build(settings, "1/minute")) as caller:
        assert await statuses(caller, OPEN, 3) == [200, 200, 200]
        answer = await caller.get("/api/v1/guarded")
    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
    assert "ratelimit" not in answer.headers


async def test_made_up_keys_take_no_memory_and_win_nothing() -> None:
    clock = Clock()
    bounded = BoundedStorage(100, clock)
    windows = SlidingWindowCounterRateLimiter(bounded)
    (item,) = parse_limits("2/minute")
    for _ in range(2):
        assert await windows.hit(item, "known", "first")
    passed = [await windows.hit(item, "known", str(number)) for number in range(20_000)]
    assert len(bounded) <= 100 + SHARES
    # Each invented key is a new caller, and yet hardly any of them pass.
    assert sum(passed) <= 99 + 2 * SHARES
    assert not await windows.hit(item, "known", "first")
    clock.now += 180
    assert await windows.hit(item, "known", "new")
    assert len(bounded) == 1


async def test_limits_that_share_do_not_mix() -> None:
    bounded = BoundedStorage(0, Clock())
    windows = SlidingWindowCounterRateLimiter(bounded)
    (many,), (few,) = parse_limits("5000/minute"), parse_limits("2/minute")
    for number in range(4000):
        await windows.hit(many, "default", str(number))
    assert await windows.hit(few, "login", "somebody")


@pytest.mark.parametrize("text", ["", "often", "0/minute", "10", "10/fortnight", "-1/minute"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be limits such as"):
        rate_limit(text)


def test_callers_are_told_apart_whatever_their_names_are() -> None:
    """Blanks in a tenant or a subject make nobody somebody else."""
    scope = {"type": "http", "client": ("192.0.2.1", 1), "headers": []}
    names = set()
    for tenant, subject in (("a b", "c"), ("a", "b c"), (None, "c"), ("None", "c"), ("", "c")):
        token = context.principal.set(Principal(subject=subject, provider="p", tenant=tenant))
        try:
            names.add(_caller(HTTPConnection(scope)))
        finally:
            context.principal.reset(token)
    names.add(_caller(HTTPConnection(scope)))
    assert len(names) == 6
