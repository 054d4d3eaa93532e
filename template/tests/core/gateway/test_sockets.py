"""WebSockets go through, as the caller and the upstream want them."""

import asyncio
import re
import struct
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from hashlib import sha1
from time import perf_counter
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError
from fastapi import WebSocket
from starlette.types import Message, Receive, Scope, Send
from yarl import URL

from app.core.gateway.settings import Upstream as Entry
from app.core.gateway.talking import talk
from app.core.gateway.upstreams import _CLOSING_SECONDS, Connected
from tests.core.gateway.conftest import ANSWER, LARGEST_MESSAGE, REST_SECONDS, Gateway
from tests.core.gateway.test_failing import TRIES, UNAVAILABLE, rest
from tests.core.gateway.test_forwarding import by_hand
from tests.core.gateway.upstream import MEGABYTE, Upstream
from tests.core.plugin import MEMBER


@pytest.fixture
async def session(gateway: Gateway) -> AsyncIterator[ClientSession]:
    base = gateway.server.url + "/services/"
    async with ClientSession(base, headers=MEMBER) as session:
        yield session


async def test_messages_both_ways(gateway: Gateway, session: ClientSession) -> None:
    async with session.ws_connect(
        "app/socket?x=1", protocols=["other", "chat"], headers={"X-Own": "kept", "Cookie": "a=1"}
    ) as socket:
        assert socket.protocol in {"chat", "other"}
        await socket.send_str("héllo")
        assert await socket.receive_str() == "HÉLLO"
        await socket.send_bytes(b"\x00\x01\xff")
        assert await socket.receive_bytes() == b"\xff\x01\x00"
    headers = {name.lower(): value for name, value in gateway.upstream.seen[0]["headers"]}
    assert (headers["x-own"], headers["cookie"]) == ("kept", "a=1")
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-host"] == urlsplit(gateway.server.url).netloc
    assert headers.get("authorization") == MEMBER.get("Authorization")
    assert len(headers["x-request-id"]) == 32


async def test_the_end_is_passed_on_both_ways(gateway: Gateway, session: ClientSession) -> None:
    async with session.ws_connect("app/socket") as socket:
        await socket.send_str("bye")
        message = await socket.receive()
        assert (message.type, message.data, message.extra) == (
            WSMsgType.CLOSE,
            4001,
            "as you wish",
        )
    async with session.ws_connect("app/socket") as socket:
        await socket.send_str("hello")
        await socket.receive()
        await socket.close(code=4002)
    await wait_until(lambda: {"close_code": 4002} in gateway.upstream.seen)


async def wait_until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not reached():  # noqa: ASYNC110 - in another thread
            await asyncio.sleep(0.01)


async def talk_to(port: int, receive: Receive, send: Send) -> None:
    """Lead a caller, of whom only this is known, to the upstream at a port."""
    path = "/services/app/socket"
    scope: Scope = {
        "type": "websocket",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "subprotocols": [],
    }
    async with ClientSession() as session:
        connected = Connected("app", Entry(url=f"http://127.0.0.1:{port}"), session)
        await talk(WebSocket(scope, receive, send), connected, "/services/app", most_bytes=9)


async def test_a_caller_who_is_gone_leaves_no_socket_behind(upstream: Upstream) -> None:
    class GoneError(Exception):
        pass

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(_: Message) -> None:
        raise GoneError

    upstream.seen.clear()
    with pytest.raises(GoneError):
        await talk_to(upstream.port, receive, send)
    await wait_until(lambda: {"close_code": 1000} in upstream.seen)


def accepting(head: bytes) -> bytes:
    """Accept a WebSocket (RFC 6455, 4.2.2)."""
    (key,) = re.findall(rb"(?i)sec-websocket-key: (.+)\r\n", head)
    accepted = b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    return upgrade + b"Sec-WebSocket-Accept: " + accepted + b"\r\n\r\n"


async def test_an_end_without_a_code_is_passed_on_before_the_upstream_hangs_up() -> None:
    told = asyncio.Event()
    sent: list[Message] = []

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepting(await reader.readuntil(b"\r\n\r\n")) + CLOSED_WITHOUT_CODE)
        await told.wait()
        writer.close()

    async def receive() -> Message:
        if not sent:
            return {"type": "websocket.connect"}
        await told.wait()
        return {"type": "websocket.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)
        if message["type"] == "websocket.close":
            told.set()

    async with (
        await asyncio.start_server(upstream, "127.0.0.1", 0) as server,
        asyncio.timeout(_CLOSING_SECONDS),  # for which the gateway waits afterwards
    ):
        await talk_to(server.sockets[0].getsockname()[1], receive, send)
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
    assert sent[-1]["code"] == 1000


async def test_too_large_messages_end_it(session: ClientSession) -> None:
    async with session.ws_connect("terse/socket") as socket:
        await socket.send_bytes(bytes(100_001))
        assert (await socket.receive()).data == 1009
    async with session.ws_connect("terse/socket") as socket:
        await socket.send_str("large")
        assert (await socket.receive()).data == 1009


HANDSHAKE = (
    *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    *(
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Extensions: permessage-deflate",
    ),
)
BINARY, CONTINUED = 2, 0
CLOSED_WITHOUT_CODE = b"\x88\x00"


def unfinished(opcode: int, size: int) -> bytes:
    """The head of a part that is not the last one."""
    return struct.pack("!BBQ4x", opcode, 0xFF, size)


def test_what_is_not_finished_fills_no_memory(gateway: Gateway) -> None:
    """The server keeps the parts of a message: so many bytes at most, of which each was sent."""
    with by_hand(gateway, "GET", "wordy/socket", *HANDSHAKE) as connection:
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65_536)
        assert received.startswith(b"HTTP/1.1 101")
        assert b"permessage-deflate" not in received
        connection.sendall(unfinished(BINARY, len(MEGABYTE)) + MEGABYTE)
        connection.sendall(unfinished(CONTINUED, LARGEST_MESSAGE - len(MEGABYTE) + 1))
        closed = connection.recv(65_536)
        assert (closed[0], closed[2:4]) == (0x88, struct.pack("!H", 1009))


async def test_the_largest_message_goes_through(session: ClientSession) -> None:
    async with session.ws_connect("wordy/socket") as socket:
        await socket.send_bytes(bytes(LARGEST_MESSAGE))
        assert len(await socket.receive_bytes()) == LARGEST_MESSAGE


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("app/socket?refuse=1", 403),
        ("app/answer", 502),
        ("app/socket?redirect=1", 502),
        ("dead/socket", 503),
        ("app/../socket", 400),
        ("app/%2e%2e/socket", 400),
        ("app/metrics", 404),
        ("other/socket", 403),
    ],
)
async def test_a_refusal_is_no_socket(
    gateway: Gateway, session: ClientSession, path: str, status: int
) -> None:
    url = URL(f"{gateway.server.url}/services/{path}", encoded=True)
    with pytest.raises(WSServerHandshakeError) as refused:
        await session.ws_connect(url)
    assert refused.value.status == status


@pytest.mark.parametrize("status", ["200 OK", "302 Found", "500 Failed"])
async def test_no_socket_where_there_is_none_opens_no_breaker(
    gateway: Gateway, session: ClientSession, status: str
) -> None:
    """Any caller can ask for a socket where the upstream has only pages."""
    answer = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    gateway.upstream.raw = answer.encode()
    for _ in range(3):
        with pytest.raises(WSServerHandshakeError) as refused:
            await session.ws_connect("fragile/x")
        assert refused.value.status == 502
    gateway.upstream.raw = ANSWER
    assert gateway.client.get("/fragile/x").status_code == 200


@pytest.mark.parametrize(
    ("name", "raw", "status"),
    [("fragile", UNAVAILABLE, 502), ("hanging", None, 504)],
    ids=["unavailable", "hangs"],
)
async def test_sockets_that_fail_open_the_breaker(
    gateway: Gateway, session: ClientSession, name: str, raw: bytes | None, status: int
) -> None:
    for _ in range(TRIES):
        await asyncio.to_thread(rest, gateway, name)
        gateway.upstream.raw = raw
        began = perf_counter()
        for _ in range(2):
            async with asyncio.timeout(20):
                with pytest.raises(WSServerHandshakeError) as failed:
                    await session.ws_connect(f"{name}/x")
            assert failed.value.status == status
        gateway.upstream.raw = ANSWER
        answer = gateway.client.get(f"/{name}/x")
        if perf_counter() - began < REST_SECONDS:
            break  # else the machine has stood still, and the breaker has rested
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    await asyncio.to_thread(rest, gateway, name)


async def test_a_socket_is_one_line_in_the_access_log(
    gateway: Gateway, session: ClientSession
) -> None:
    for path in ("app/socket", "app/socket?refuse=1"):
        with suppress(WSServerHandshakeError):
            async with session.ws_connect(path, headers={"X-Request-ID": "a-socket"}) as socket:
                assert socket._response.headers["X-Request-ID"] == "a-socket"

    def lines() -> list[tuple[object, ...]]:
        found = [line for line in gateway.log("request") if line["request_id"] == "a-socket"]
        return [(line["method"], line["route"], line["status"]) for line in found]

    await wait_until(lambda: len(lines()) == 2)
    route = "/services/app/{path}"
    assert set(lines()) == {("WEBSOCKET", route, 101), ("WEBSOCKET", route, 403)}


async def test_sockets_take_no_places_of_requests(gateway: Gateway, session: ClientSession) -> None:
    async with session.ws_connect("narrow/socket"):
        assert gateway.client.get("/narrow/answer").status_code == 200
        with pytest.raises(WSServerHandshakeError) as refused:
            await session.ws_connect("narrow/socket")
        assert refused.value.status == 503


async def test_pages_of_other_sites_are_refused(gateway: Gateway, session: ClientSession) -> None:
    own = gateway.server.url
    async with session.ws_connect("app/socket", headers={"Origin": own}) as socket:
        await socket.close()
    for origin in ("https://evil.example", "null", own + ".evil.example", "http://[", "://"):
        with pytest.raises(WSServerHandshakeError) as refused:
            await session.ws_connect("app/socket", headers={"Origin": origin})
        assert refused.value.status == 403
