"""Calls to other services: what is waited for, repeated, refused, and when they are left alone."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import suppress
from time import perf_counter
from typing import Any
from uuid import uuid4

import pytest
import stamina
import structlog
from fastapi import APIRouter
from httpcore2 import ConnectTimeout
from httpx2 import Auth, LocalProtocolError, Request, Response
from pydantic import BaseModel, ValidationError
from structlog.testing import capture_logs

from app.config import Settings
from app.core import context, deadline
from app.core.application import create_app
from app.core.auth import public
from app.core.breaker import State
from app.core.http import (
    AddressRefusedError,
    Upstream,
    UpstreamError,
    UpstreamFailedError,
    UpstreamRefusedError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from app.core.http import upstream as upstream_module
from app.core.http.counters import counts_of
from app.core.http.guard import Guard, GuardedNetwork
from app.core.http.pacing import Pace, RetryBudget
from app.core.http.upstream import calling, states
from tests.core.clock import Clock
from tests.core.neighbour import (
    Neighbour,
    Reaction,
    Received,
    answering,
    babbling,
    dripping,
    hanging,
    neighbour,
    redirecting,
    resetting,
)
from tests.core.plugin import caller_of, with_changes

MOMENT = 0.05
"""Seconds: as long as nobody should wait for what never comes."""
PATIENCE = 20

MakeUpstream = Callable[..., Upstream]


def test_a_name_is_given_once() -> None:
    first = Upstream("of-this-test", "https://example.com")
    with pytest.raises(ValueError, match="'of-this-test' already"):
        Upstream(first.name, "https://example.org")


async def test_nothing_is_called_before_the_service_is_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upstream_module, "_running", [])
    with pytest.raises(RuntimeError, match="not started"):
        await Upstream("early", "https://example.com").request("GET", "/")


def test_networks_that_are_none_are_refused(settings: Settings) -> None:
    with pytest.raises(ValidationError, match="http_private_networks"):
        with_changes(settings, http_private_networks=("10.0.0.0/99",))


async def test_a_name_is_not_looked_up_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Guard, "look_up", hang)
    network = GuardedNetwork(Guard("other", private=True))
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ConnectTimeout):
            await network.connect_tcp("example.com", 443, timeout=MOMENT)


class Price(BaseModel):
    """What an answer should look like."""

    price: int


class Signature(Auth):
    """Signs nothing, but shows that it was asked."""

    def auth_flow(self, request: Request) -> Generator[Request, Response, None]:
        request.headers["x-signature"] = f"{request.method} {request.url.path}"
        yield request


@pytest.fixture
async def other() -> AsyncIterator[Neighbour]:
    async with neighbour() as running:
        yield running


@pytest.fixture(autouse=True)
def without_waits() -> Iterator[None]:
    """Retries come at once."""
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


@pytest.fixture
async def upstream(settings: Settings, other: Neighbour) -> AsyncIterator[MakeUpstream]:
    """Makes an upstream that is the neighbour."""

    def make(base_url: str | None = None, **options: object) -> Upstream:
        given = {"private": True, "breaker_failures": 3, "breaker_rest": 60, **options}
        return Upstream(f"other-{uuid4().hex}", base_url or other.url, **given)  # type: ignore[arg-type]

    async with calling(settings):
        yield make


async def fails(
    upstream: Upstream, error: type[UpstreamError], method: str = "POST"
) -> UpstreamError:
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(error) as raised:
            await upstream.request(method, "/x")
    assert type(raised.value) is error
    return raised.value


# --- What is asked and answered ---------------------------------------------------------------


async def test_an_answer_is_read(upstream: MakeUpstream, other: Neighbour) -> None:
    other.reaction = answering(body=b'{"price": 7}')
    line = upstream(f"{other.url}/v1")
    assert await line.read(Price, "GET", "/prices", params={"of": "a b"}) == Price(price=7)
    await line.request("POST", "/orders", json={"amount": 1})
    asked = [(request.method, request.target, request.body) for request in other.received]
    assert asked == [("GET", "/v1/prices?of=a+b", b""), ("POST", "/v1/orders", b'{"amount":1}')]


async def test_who_asks_and_why_is_passed_on(upstream: MakeUpstream, other: Neighbour) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    tokens = context.request_id.set("an-id"), context.traceparent.set(trace)
    await upstream().request("GET", "/x")
    context.request_id.reset(tokens[0])
    context.traceparent.reset(tokens[1])
    told = other.received[0].headers
    assert (told["x-request-id"], told["traceparent"]) == ("an-id", trace)


async def test_a_request_carries_its_id_trace_and_deadline_through_the_service(
    settings: Settings, other: Neighbour
) -> None:
    elsewhere = Upstream(f"other-{uuid4().hex}", other.url, private=True)
    router = APIRouter()

    @router.get("/ask")
    @public
    async def ask() -> int:
        return (await elsewhere.request("GET", "/x")).status_code

    app = create_app(settings, routers=[router])
    told = {
        "X-Request-ID": "their-id",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "X-Request-Timeout": "20000",
    }
    async with app.router.lifespan_context(app), caller_of(app) as caller:
        path = f"{settings.api_v1_str}/ask"
        assert (await caller.get(path, headers=told)).json() == 200
        nonsense = {"traceparent": "x\ty", "X-Request-Timeout": "soon"}
        assert (await caller.get(path, headers=nonsense)).json() == 200
    first, second = (request.headers for request in other.received)
    assert (first["x-request-id"], first["traceparent"]) == ("their-id", told["traceparent"])
    assert 0 < int(first["x-request-timeout"]) <= 20000
    assert "traceparent" not in second
    assert int(second["x-request-timeout"]) > 20000


async def test_an_answer_is_not_logged(
    upstream: MakeUpstream, other: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A logger keeps the configuration that it has met first.
    monkeypatch.setattr(upstream_module, "log", structlog.get_logger(logger_name="app.http"))
    other.reaction = answering(body=b'{"price": "swordfish"}')
    with capture_logs() as logs, pytest.raises(UpstreamFailedError):
        await upstream().read(Price, "POST", "/x")
    assert [line["reason"] for line in logs] == ["ValidationError: price (int_parsing)"]


def test_the_time_that_is_told_is_never_none_at_all() -> None:
    assert [deadline.told(seconds) for seconds in (2.5, 0.0001, 0)] == ["2500", "1", "1"]


async def test_cookies_of_one_call_are_not_sent_with_the_next(
    upstream: MakeUpstream, other: Neighbour
) -> None:
    other.reaction = answering(headers={"Set-Cookie": "session=somebody; Path=/"})
    line = upstream()
    await line.request("GET", "/x")
    await line.request("GET", "/x")
    assert "cookie" not in other.received[1].headers


@pytest.mark.parametrize("status", [400, 404, 429])
async def test_a_refusal_is_an_answer_and_no_failure(
    upstream: MakeUpstream, other: Neighbour, status: int
) -> None:
    other.reaction = answering(status, b"no")
    line = upstream(breaker_failures=1)
    assert (await line.request("GET", "/x")).status_code == status
    with pytest.raises(UpstreamRefusedError) as refused:
        await line.read(Price, "GET", "/x")
    assert refused.value.response.content == b"no"
    assert refused.value.status == 502
    assert states()[line.name] is State.CLOSED
    assert len(other.received) == 2


async def test_an_answer_of_another_shape_is_a_failure(
    upstream: MakeUpstream, other: Neighbour
) -> None:
    other.reaction = answering(body=b"<html>")
    line = upstream(breaker_failures=1)
    with pytest.raises(UpstreamFailedError):
        await line.read(Price, "POST", "/x")
    assert states()[line.name] is State.OPEN


@pytest.mark.parametrize("compressed", [False, True])
async def test_no_more_is_read_than_is_allowed(
    upstream: MakeUpstream, other: Neighbour, compressed: bool
) -> None:
    body = b"x" * 100_000
    headers = {"Content-Encoding": "gzip"} if compressed else {}
    other.reaction = answering(200, gzip.compress(body) if compressed else body, headers)
    enough = await upstream().request("GET", "/x")
    assert enough.content == body
    await fails(upstream(max_response_bytes=99_999), UpstreamError)


@pytest.mark.parametrize(
    "path",
    [
        *("https://example.com/", "http://127.0.0.1/v1/x", "/../x", "/%2e%2e/x", "/a/.."),
        *("/..%5cx", "/a/..;/x", "/%252e%252e/x", "/..%3fx", "/%2525252e"),
    ],
)
async def test_no_path_leads_elsewhere(upstream: MakeUpstream, other: Neighbour, path: str) -> None:
    with pytest.raises(ValueError, match="a path below"):
        await upstream(f"{other.url}/v1").request("GET", path)
    assert not other.received


async def test_a_path_may_have_encoded_slashes_and_a_query_dots(
    upstream: MakeUpstream, other: Neighbour
) -> None:
    await upstream().request("GET", "/a%2Fb/100%25/...", params={"up": "/../"})
    assert other.received[0].target == "/a%2Fb/100%25/...?up=%2F..%2F"


async def test_what_is_no_http_is_our_own_mistake(upstream: MakeUpstream) -> None:
    line = upstream(breaker_failures=1)
    with pytest.raises(LocalProtocolError):
        await line.request("POST", "/x", headers={"X-Name": "a\r\nb: c"})
    assert states()[line.name] is State.CLOSED


# --- What is waited for -----------------------------------------------------------------------


@pytest.mark.parametrize("limits", [{"read_timeout": MOMENT}, {"total_timeout": MOMENT}], ids=str)
async def test_a_server_that_hangs_is_not_waited_for(
    upstream: MakeUpstream, other: Neighbour, limits: dict[str, float]
) -> None:
    other.reaction = hanging
    assert (await fails(upstream(**limits), UpstreamTimeoutError)).status == 504


async def test_a_server_that_drips_is_not_waited_for(
    upstream: MakeUpstream, other: Neighbour
) -> None:
    other.reaction = dripping
    line = upstream(total_timeout=MOMENT, breaker_failures=1)
    await fails(line, UpstreamTimeoutError)
    assert states()[line.name] is State.OPEN


async def test_what_is_left_of_a_deadline_is_told_and_kept(
    upstream: MakeUpstream, other: Neighbour
) -> None:
    line = upstream(breaker_failures=1, total_timeout=600)
    with deadline.within(600), deadline.within(60), deadline.within(300):
        await line.request("GET", "/x")
    assert 30_000 < int(other.received[0].headers["x-request-timeout"]) <= 60_000
    other.reaction = hanging
    with deadline.within(2):
        await fails(line, UpstreamTimeoutError, "GET")
    assert len(other.received) == 2
    # That somebody is in a hurry says nothing about the upstream.
    assert states()[line.name] is State.CLOSED


@pytest.mark.parametrize("status", [503, 504])
async def test_an_upstream_that_has_no_time_has_not_failed(
    upstream: MakeUpstream, other: Neighbour, status: int
) -> None:
    """It is told what is left of the deadline, and may say at once that it is too little."""
    other.reaction = answering(status)
    line = upstream(breaker_failures=1, total_timeout=30)
    with deadline.within(20), pytest.raises(UpstreamFailedError):
        await line.request("POST", "/x")
    assert states()[line.name] is State.CLOSED
    assert counts_of(line.name)["abandoned"] == 1
    with deadline.within(60), pytest.raises(UpstreamFailedError):
        await line.request("POST", "/x")
    assert states()[line.name] is State.OPEN


async def test_nothing_is_asked_when_the_deadline_is_over(
    upstream: MakeUpstream, other: Neighbour
) -> None:
    line = upstream()
    await line.request("GET", "/x")  # so that there is a connection
    with deadline.within(0):
        await fails(line, UpstreamTimeoutError)
        assert len(other.received) == 1
        with deadline.unlimited():
            await line.request("GET", "/x")


async def test_too_many_calls_at_a_time_are_refused(
    upstream: MakeUpstream, other: Neighbour
) -> None:
    other.reaction = hanging
    line = upstream(concurrency=2, queue_timeout=0)
    calls = [asyncio.create_task(line.request("GET", "/x")) for _ in range(2)]
    while other.waiting < 2:  # noqa: ASYNC110 - counted by a server
        await asyncio.sleep(0.001)
    assert (await fails(line, UpstreamUnavailableError)).status == 503
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    other.reaction = answering()
    assert (await line.request("GET", "/x")).is_success


async def test_calls_keep_the_pace(upstream: MakeUpstream, other: Neighbour) -> None:
    line = upstream(rate=0.001, burst=2, total_timeout=5)
    await line.request("GET", "/x")
    await line.request("GET", "/x")
    await fails(line, UpstreamUnavailableError)
    assert len(other.received) == 2


async def test_a_turn_leaves_time_to_ask(upstream: MakeUpstream, other: Neighbour) -> None:
    """Else whoever waits longest fails, and many of them open the breaker of a healthy server."""

    async def slowly(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        await answering()(request, writer)

    other.reaction = slowly
    line = upstream(rate=20, burst=1, total_timeout=4, concurrency=200, breaker_failures=1)
    calls = [line.request("POST", "/x") for _ in range(100)]
    ends = [type(each) for each in await asyncio.gather(*calls, return_exceptions=True)]
    assert {*ends} == {Response, UpstreamUnavailableError}
    assert states()[line.name] is State.CLOSED


# --- What is repeated -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "asked"), [("GET", 3), ("HEAD", 3), ("POST", 1), ("PUT", 1), ("DELETE", 1)]
)
async def test_only_what_changes_nothing_is_repeated(
    upstream: MakeUpstream, other: Neighbour, method: str, asked: int
) -> None:
    other.reaction = answering(503, b"")
    await fails(upstream(breaker_failures=9), UpstreamFailedError, method)
    assert len(other.received) == asked


async def test_a_retry_may_go_well(upstream: MakeUpstream, other: Neighbour) -> None:
    async def once(_: Received, writer: asyncio.StreamWriter) -> None:
        other.reaction = answering()
        writer.transport.abort()

    other.reaction = once
    signed = await upstream().request("GET", "/x", auth=Signature())
    assert signed.is_success
    assert [request.headers["x-signature"] for request in other.received] == ["GET /x"] * 2


async def test_retries_are_a_small_part_of_all_calls(
    upstream: MakeUpstream, other: Neighbour
) -> None:
    other.reaction = answering(503)
    line = upstream(breaker_failures=1000)
    for _ in range(50):
        await fails(line, UpstreamFailedError, "GET")
    assert len(other.received) <= 50 + 10 + 50 * 0.1


async def test_nobody_comes_back_earlier_than_wanted(
    upstream: MakeUpstream, other: Neighbour
) -> None:
    other.reaction = answering(503, headers={"Retry-After": "3600"})
    await fails(upstream(), UpstreamFailedError, "GET")
    assert len(other.received) == 1


def test_a_budget_is_earned_and_spent() -> None:
    budget = RetryBudget(spare=2, share=0.5)
    assert [budget.spend() for _ in range(3)] == [True, True, False]
    budget.earn()
    assert not budget.spend()
    budget.earn()
    assert budget.spend()
    for _ in range(100):
        budget.earn()
    assert [budget.spend() for _ in range(3)] == [True, True, False]


async def test_who_does_not_wait_takes_no_turn(upstream: MakeUpstream) -> None:
    """Else callers in a hurry would leave no turns to all others."""
    line = upstream(rate=5, total_timeout=5)
    await line.request("GET", "/x")
    for _ in range(30):
        with deadline.within(0.001), suppress(UpstreamError):
            await line.request("POST", "/x")
    assert (await line.request("POST", "/x")).status_code == 200


def test_a_pace_lets_a_burst_pass_and_then_spreads() -> None:
    now = 100.0
    pace = Pace(2, burst=2, clock=lambda: now)
    assert [pace.reserve(1) for _ in range(4)] == [0, 0, 0.5, 1.0]
    assert pace.reserve(1) is None
    now = 101.5
    assert pace.reserve(0) == 0


# --- When it is left alone --------------------------------------------------------------------

FAILURES: dict[str, Reaction] = {
    "fails": answering(500),
    "hangs": hanging,
    "resets": resetting,
    "answers garbage": babbling,
}


async def _seconds_of_a_refusal(line: Upstream) -> float:
    started = perf_counter()
    await fails(line, UpstreamUnavailableError)
    return perf_counter() - started


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_failing_upstream_is_left_alone_until_a_probe_succeeds(
    settings: Settings, other: Neighbour, failure: str
) -> None:
    other.reaction = FAILURES[failure]
    line = Upstream(f"other-{uuid4().hex}", other.url, private=True)
    patience = 0.5 if failure == "hangs" else 10
    changes = {"http_read_timeout": patience, "http_breaker_rest": 1, "http_breaker_failures": 3}
    async with calling(with_changes(settings, **changes)):
        running = upstream_module._line(line)
        clock = running.breaker._clock = Clock()
        for _ in range(3):
            assert states()[line.name] is State.CLOSED
            with pytest.raises((UpstreamFailedError, UpstreamTimeoutError)):
                await line.request("POST", "/x")
        assert states()[line.name] is State.OPEN
        # Whoever is asked from here on answers, and may take its time.
        (await running._connected()).timeout = PATIENCE

        refused = await fails(line, UpstreamUnavailableError)
        assert refused.headers == {"Retry-After": "1"}
        # The fastest of some: the machine may be busy, and an upstream that hangs takes 0.5 s.
        assert min([await _seconds_of_a_refusal(line) for _ in range(10)]) < 0.1
        assert len(other.received) == 3

        clock.now += 1
        assert states()[line.name] is State.HALF_OPEN
        release = asyncio.Event()

        async def slowly(request: Received, writer: asyncio.StreamWriter) -> None:
            await release.wait()
            await answering()(request, writer)

        other.reaction = slowly
        probe = asyncio.create_task(line.request("GET", "/x"))
        while len(other.received) < 4:  # noqa: ASYNC110 - counted by a server
            await asyncio.sleep(0.001)
        await fails(line, UpstreamUnavailableError, "GET")
        release.set()
        assert (await probe).is_success
        assert states()[line.name] is State.CLOSED
        assert len(other.received) == 4


async def test_nobody_waits_for_a_turn_at_what_is_left_alone(
    upstream: MakeUpstream, other: Neighbour
) -> None:
    other.reaction = answering(500)
    line = upstream(rate=0.1, breaker_failures=1)
    await fails(line, UpstreamFailedError)
    refused = await fails(line, UpstreamUnavailableError)
    assert refused.wait is not None
    assert refused.wait > 50  # until the breaker lets a probe pass, and not ten for a turn


async def test_a_server_that_is_not_there_fails(upstream: MakeUpstream) -> None:
    line = upstream("http://127.0.0.1:1", breaker_failures=1)
    failed = await fails(line, UpstreamFailedError)
    assert "127.0.0.1" not in str(failed.detail)
    assert states()[line.name] is State.OPEN


async def test_operators_see_the_breakers_and_readiness_does_not_depend_on_them(
    settings: Settings, other: Neighbour
) -> None:
    other.reaction = answering(500)
    line = Upstream(f"other-{uuid4().hex}", other.url, private=True, breaker_failures=1)
    app = create_app(settings)
    async with app.router.lifespan_context(app), caller_of(app) as caller:
        await fails(line, UpstreamFailedError)
        seen = (await caller.get("/health/detailed")).json()["components"]["upstreams"]
        assert (await caller.get("/ready")).json()["components"]["upstreams"]["status"] == "up"
    assert seen["details"][line.name]["breaker"] == "open"
    assert seen["details"][line.name]["calls"]["failed"] == 1


async def test_our_caller_learns_what_happened_and_no_address(
    settings: Settings, other: Neighbour
) -> None:
    other.reaction = answering(500, b"secret text")
    line = Upstream(f"other-{uuid4().hex}", other.url, private=True, breaker_failures=1)
    router = APIRouter()

    @router.get("/ask")
    @public
    async def ask() -> None:
        await line.request("POST", "/x")

    asking = create_app(settings, routers=[router])
    async with asking.router.lifespan_context(asking), caller_of(asking) as caller:
        failed = await caller.get(f"{settings.api_v1_str}/ask")
        refused = await caller.get(f"{settings.api_v1_str}/ask")
    assert (failed.status_code, failed.json()["code"]) == (502, "external_service")
    assert failed.headers["content-type"] == "application/problem+json"
    assert failed.json()["upstream"] == line.name
    assert "secret" not in failed.text
    assert f":{other.port}" not in failed.text
    assert (refused.status_code, refused.json()["code"]) == (503, "service_unavailable")
    assert int(refused.headers["retry-after"]) > 1


# --- Where calls may go -----------------------------------------------------------------------


async def test_private_addresses_are_refused(
    settings: Settings, upstream: MakeUpstream, other: Neighbour
) -> None:
    for url in (
        other.url,
        f"http://localhost:{other.port}",
        f"http://[::ffff:127.0.0.1]:{other.port}",
    ):
        line = upstream(url, private=False, breaker_failures=1)
        await fails(line, AddressRefusedError, "GET")
        assert states()[line.name] is State.CLOSED
    assert not other.received
    line = upstream(private=False)
    async with calling(with_changes(settings, http_private_networks="127.0.0.0/8")):
        assert (await line.request("GET", "/x")).is_success


async def test_the_address_that_is_connected_to_is_the_one_that_was_checked(
    settings: Settings, other: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads to an allowed address when asked first, and to another ever after."""
    look_up = socket.getaddrinfo
    answers = iter(["127.0.0.2"])

    def rebinding(host: Any, *arguments: Any, **options: Any) -> Any:
        name = next(answers, "127.0.0.1") if host == b"rebinding.example" else host
        return look_up(name, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    line = Upstream(f"other-{uuid4().hex}", f"http://rebinding.example:{other.port}")
    async with (
        calling(with_changes(settings, http_private_networks="127.0.0.2/32")),
        neighbour("127.0.0.2", other.port) as checked,
    ):
        checked.reaction = answering(headers={"Connection": "close"})
        assert (await line.request("GET", "/x")).is_success
        await fails(line, AddressRefusedError, "GET")
    assert (len(checked.received), len(other.received)) == (1, 0)


async def test_redirects_are_followed_to_where_they_may_lead(
    upstream: MakeUpstream, other: Neighbour
) -> None:
    line = upstream(redirects_to=["127.0.0.2"])
    secrets = {"Authorization": "Bearer x", "X-API-Key": "x"}
    async with neighbour("127.0.0.2") as elsewhere:
        turns = iter([redirecting("/here"), redirecting(elsewhere.url)])

        async def react(request: Received, writer: asyncio.StreamWriter) -> None:
            await next(turns)(request, writer)

        other.reaction = react
        answer = await line.request("GET", "/x", headers=secrets, auth=Signature())
    assert answer.is_success
    assert [request.headers["x-signature"] for request in other.received] == ["GET /x", "GET /here"]
    assert all(request.headers["x-api-key"] == "x" for request in other.received)
    assert not {"authorization", "x-api-key", "x-signature"} & elsewhere.received[0].headers.keys()


@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/", "http://localhost:{port}/", "http://127.0.0.1:1/", "//x"],
)
async def test_redirects_to_other_places_are_refused(
    upstream: MakeUpstream, other: Neighbour, location: str
) -> None:
    other.reaction = redirecting(location.format(port=other.port))
    await fails(upstream(), UpstreamError, "GET")
    assert len(other.received) == 1


async def test_what_changes_something_is_not_sent_on(
    upstream: MakeUpstream, other: Neighbour
) -> None:
    other.reaction = redirecting("/here", 307)
    await fails(upstream(), UpstreamError, "POST")
    assert len(other.received) == 1


async def test_redirects_have_an_end(upstream: MakeUpstream, other: Neighbour) -> None:
    other.reaction = redirecting("/x")
    await fails(upstream(), UpstreamError, "GET")
    assert len(other.received) == 6


@pytest.mark.parametrize(
    ("address", "outside", "inside"),
    [
        ("93.184.215.14", True, True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True, True),
        ("10.1.2.3", False, True),
        ("172.16.0.1", False, True),
        ("192.168.1.1", False, True),
        ("100.64.0.1", False, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("fd12::1", False, True),
        ("169.254.169.254", False, False),
        ("fe80::1%eth0", False, False),
        ("fd00:ec2::254", False, False),
        ("fd00:ec2::23", False, False),
        ("fd20:ce::254", False, False),
        ("fd00:c1::a9fe:a9fe", False, False),
        ("192.0.0.192", False, False),
        ("192.0.0.9", False, False),
        ("0.0.0.0", False, False),  # noqa: S104
        ("::", False, False),
        ("224.0.0.1", False, False),
        ("ff02::1", False, False),
        ("::ffff:10.1.2.3", False, True),
        ("::ffff:169.254.169.254", False, False),
        ("::10.1.2.3", False, True),
        ("64:ff9b::a01:203", False, True),
        ("64:ff9b::a9fe:a9fe", False, False),
        ("2002:a01:203::1", False, True),
        ("2001:0:4136:e378:8000:63bf:f5fe:fdfc", False, True),
        ("::ffff:0:a01:203", False, True),
        ("64:ff9b:1::a01:203", False, True),
        ("64:ff9b:1::a9fe:a9fe", False, False),
        ("64:ff9b:1::5db8:d70e", False, True),
        ("fec0::1", False, True),
        ("168.63.129.16", False, False),
        ("100.100.100.200", False, False),
    ],
)
def test_which_addresses_are_allowed(address: str, outside: bool, inside: bool) -> None:
    assert Guard("other", private=False).allows(address) is outside
    assert Guard("other", private=True).allows(address) is inside
    assert Guard("other", ("0.0.0.0/0", "::/0"), private=False).allows(address)
