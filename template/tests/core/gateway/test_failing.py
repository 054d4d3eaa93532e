"""What the caller is told when an upstream fails, and when it is not asked any more."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from time import perf_counter, sleep
from uuid import uuid4

import pytest
from httpx2 import RemoteProtocolError
from multidict import CIMultiDict
from starlette.types import Message

from app.core.breaker import State
from app.core.gateway import upstreams
from app.core.gateway.calling import Caller
from app.core.gateway.settings import Upstream
from app.core.http.counters import counts_of
from tests.core.gateway.conftest import ANSWER, HASTY_SECONDS, REST_SECONDS, Gateway
from tests.core.ports import free_port

TRIES = 5
"""How often a machine may stand still in the midst of a test."""
KEPT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nkept"

GARBAGE = {
    "nothing": b"",
    "no HTTP": b"220 smtp.example.com ESMTP\r\n\r\n",
    "half a header": b"HTTP/1.1 200 OK\r\nContent-Le",
    "a wrong length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "a wrong status": b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n",
    "a switch": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "a large header": b"HTTP/1.1 200 OK\r\nX-Large: " + b"x" * 200_000 + b"\r\n\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    "a split header": b"HTTP/1.1 200 OK\r\nX-A: a\rSet-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n",
    "a control": b"HTTP/1.1 200 OK\r\nX-A: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "a wrong name": b"HTTP/1.1 200 OK\r\nX A: b\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("raw", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_a_problem_and_never_passed_on(gateway: Gateway, raw: bytes) -> None:
    gateway.upstream.raw = raw
    answer = gateway.client.get("/raw/x", headers={"X-Request-ID": "asked"})
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "external_service"
    assert answer.json()["request_id"] == "asked"
    assert "set-cookie" not in answer.headers
    assert "127.0.0.1" not in answer.text
    assert len(gateway.upstream.raw_heads) == 1  # bytes were sent, so it was not asked again


def test_a_header_that_a_caller_can_make_long_is_passed_on(gateway: Gateway) -> None:
    """As a redirect to what was asked, encoded; else any caller could open the breaker."""
    place = "/" + "%7B" * 8000
    gateway.upstream.raw = (
        f"HTTP/1.1 307 Away\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode()
    )
    assert gateway.client.get("/raw/x").headers["location"] == place


def test_a_query_is_not_logged(gateway: Gateway) -> None:
    gateway.upstream.raw = GARBAGE["two lengths"]
    headers = {"X-Request-ID": "secretive"}
    assert gateway.client.get("/raw/x?mail=swordfish", headers=headers).status_code == 502
    end, reasons = perf_counter() + 20, list[object]()
    while not reasons and perf_counter() < end:
        lines = gateway.log("upstream fails")
        reasons = [line["reason"] for line in lines if line["request_id"] == "secretive"]
    assert reasons
    assert "swordfish" not in str(reasons)


def test_a_length_beside_a_coding_is_left_out(gateway: Gateway) -> None:
    gateway.upstream.raw = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    )
    answer = gateway.client.get("/raw/x")
    assert (answer.status_code, answer.text) == (200, "ok")
    assert "content-length" not in answer.headers


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
    ids=["length", "chunked"],
)
def test_a_part_is_never_taken_for_the_whole(gateway: Gateway, raw: bytes) -> None:
    gateway.upstream.raw = raw
    with pytest.raises(RemoteProtocolError):
        gateway.client.get("/raw/x")


@pytest.mark.parametrize("body", [None, b"all of it"], ids=["no body", "body"])
def test_no_answer_in_time(gateway: Gateway, body: bytes | None) -> None:
    gateway.upstream.raw = None
    answer = gateway.client.request("POST", "/slow/x", content=body)
    assert (answer.status_code, answer.json()["code"]) == (504, "timeout")


def test_time_that_the_caller_takes_is_not_the_upstream_s(gateway: Gateway) -> None:
    def slowly() -> Iterator[bytes]:
        yield b"half"
        sleep(HASTY_SECONDS + 1)
        yield b"half"

    answer = gateway.client.post("/hasty/upload", content=slowly())
    assert (answer.status_code, answer.json()) == (200, {"size": 8})


@pytest.mark.parametrize("name", ["dead", "full", "unknown"])
def test_no_connection(gateway: Gateway, name: str) -> None:
    answer = gateway.client.post(f"/{name}/x", content=b"x")
    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
    assert "retry-after" in answer.headers


async def test_a_connection_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The upstream listens only when the first try has failed."""
    port, servers = free_port(), list[asyncio.Server]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\nbody")
        writer.write(ANSWER)
        writer.close()

    async def listen() -> None:
        servers.append(await asyncio.start_server(answer, "127.0.0.1", port))

    monkeypatch.setattr(upstreams, "_pause", listen)
    settings = Upstream(url=f"http://127.0.0.1:{port}")
    async with upstreams.connect("late", settings) as late:
        caller = Caller(one_part, has_body=True, patience=5, waits=None, signed_in=None)
        headers = CIMultiDict({"Content-Length": "4"})
        async with late.asked("POST", "/x", headers, caller) as answered:
            assert await answered.read() == b"ok"
        assert (late.breaker.state, late.breaker.failures_in_a_row) == (State.CLOSED, 0)
    servers[0].close()
    assert len(servers) == 1


async def one_part() -> Message:
    return {"type": "http.request", "body": b"body", "more_body": False}


def test_what_may_have_arrived_is_never_sent_again(gateway: Gateway) -> None:
    """Not even a GET, and not on a connection that was kept."""
    gateway.upstream.raw = KEPT
    assert gateway.client.get("/raw/x").status_code == 200
    gateway.upstream.raw = b""
    assert gateway.client.get("/raw/x").status_code == 502
    assert (len(gateway.upstream.raw_heads), gateway.upstream.raw_connections) == (2, 1)


def rest(gateway: Gateway, name: str = "fragile") -> None:
    """Close the breaker that another test may have opened."""
    gateway.upstream.raw = ANSWER
    end = perf_counter() + 30
    while gateway.client.get(f"/{name}/x").status_code != 200:
        assert perf_counter() < end
        sleep(0.05)


UNAVAILABLE = b"HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
BROKEN = {
    "resets": ("fragile", b"", 502),
    "hangs": ("hanging", None, 504),
    "garbage": ("fragile", b"nonsense\r\n\r\n", 502),
    "unavailable": ("fragile", UNAVAILABLE, 503),
}


@pytest.mark.parametrize(("name", "raw", "status"), BROKEN.values(), ids=BROKEN.keys())
def test_the_breaker_opens_and_lets_one_probe_through(
    gateway: Gateway, name: str, raw: bytes | None, status: int
) -> None:
    for _ in range(TRIES):
        rest(gateway, name)
        gateway.upstream.raw = raw
        assert gateway.client.get(f"/{name}/x").status_code == status
        began = perf_counter()
        assert gateway.client.get(f"/{name}/x").status_code == status
        asked = len(gateway.upstream.raw_heads)
        answers = [gateway.client.get(f"/{name}/x") for _ in range(5)]
        if perf_counter() - began < REST_SECONDS:
            break  # else the machine has stood still, and a probe may have passed
    said = {(answer.status_code, answer.headers["retry-after"]) for answer in answers}
    assert said == {(503, "1")}
    assert len(gateway.upstream.raw_heads) == asked
    if raw is None:
        slowest = max(answer.elapsed.total_seconds() for answer in answers)
        print(f"measured: refused by an open breaker in {slowest * 1000:.1f} ms")  # noqa: T201
    rest(gateway, name)


def test_an_upstream_s_own_error_is_an_answer(gateway: Gateway) -> None:
    rest(gateway)
    gateway.upstream.raw = b"HTTP/1.1 500 Oops\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    assert [gateway.client.get("/fragile/x").status_code for _ in range(5)] == [500] * 5
    rest(gateway)


def test_callers_cannot_open_the_breaker(gateway: Gateway) -> None:
    """Neither by a short deadline nor by leaving in the midst of a body."""
    rest(gateway)
    gateway.upstream.raw = None
    for _ in range(4):
        late = gateway.client.get("/fragile/x", headers={"X-Request-Timeout": "50"})
        assert late.status_code == 504
    gateway.upstream.raw = ANSWER
    assert gateway.client.get("/fragile/x").status_code == 200


def test_an_upstream_that_has_no_time_has_not_failed(gateway: Gateway) -> None:
    """It is told the caller's deadline, and may say at once that it is too short."""
    rest(gateway)
    gateway.upstream.raw = UNAVAILABLE
    for _ in range(4):
        hasty = gateway.client.get("/fragile/x", headers={"X-Request-Timeout": "250"})
        assert hasty.status_code in {503, 504}
    gateway.upstream.raw = ANSWER
    assert gateway.client.get("/fragile/x").status_code == 200
    for _ in range(TRIES):
        rest(gateway)
        gateway.upstream.raw = UNAVAILABLE
        began = perf_counter()
        for _ in range(2):
            gateway.client.get("/fragile/x", headers={"X-Request-Timeout": "9000"})
        gateway.upstream.raw = ANSWER
        status = gateway.client.get("/fragile/x").status_code
        if perf_counter() - began < REST_SECONDS:
            break
    assert status == 503  # it would have had the time
    rest(gateway)


async def test_nor_is_it_measured_as_if_it_had(gateway: Gateway) -> None:
    """An alert looks at what has failed, and callers choose their deadlines."""
    gateway.upstream.raw = UNAVAILABLE
    name = f"hurried-{uuid4().hex}"

    async def say_nothing() -> Message:
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    table = Upstream(url=f"http://127.0.0.1:{gateway.upstream.raw_port}", timeout=30)
    async with upstreams.connect(name, table) as hurried:
        for waits in (20.0, 60.0):
            caller = Caller(say_nothing, has_body=False, patience=5, waits=waits, signed_in=None)
            async with hurried.asked("GET", "/x", CIMultiDict(), caller) as answered:
                assert answered.status == 503
    counts = counts_of(name)
    assert (counts["abandoned"], counts["failed"]) == (1, 1)


def test_an_upload_that_is_cut_off_says_nothing(gateway: Gateway) -> None:
    """The upstream may have refused it early; else any caller of such a one opens the breaker."""
    rest(gateway)
    gateway.upstream.raw = b""
    body = bytes(20_000_000)
    answers = [gateway.client.post("/fragile/x", content=body).status_code for _ in range(3)]
    assert answers == [502] * 3
    gateway.upstream.raw = ANSWER
    assert gateway.client.get("/fragile/x").status_code == 200


async def test_health_tells_of_an_upstream_that_is_not_well(gateway: Gateway) -> None:
    raw = gateway.upstream
    table = Upstream(
        url=f"http://127.0.0.1:{raw.raw_port}", health="/x", breaker_failures=1, breaker_rest=600
    )
    async with upstreams.connect("ailing", table) as ailing:
        raw.raw = ANSWER
        assert (await ailing.probe())["status"] == 200
        raw.raw = UNAVAILABLE
        with pytest.raises(RuntimeError, match="/x answers 503"):
            await ailing.probe()
        raw.raw = ANSWER
        with suppress(OSError), ailing.breaker.attempt():
            raise OSError
        with pytest.raises(RuntimeError, match="the breaker is open"):
            await ailing.probe()
