"""Tricks with the bytes of a request, sent by hand to the running service."""

import re
import socket
from urllib.parse import urlsplit

import pytest

from tests.core.gateway.conftest import Gateway
from tests.core.plugin import MEMBER


def send(gateway: Gateway, raw: str, patience: float = 10) -> str:
    """Send bytes as they are, say that no more come, and read everything that is answered."""
    url = urlsplit(gateway.server.url)
    address = (url.hostname or "", url.port or 0)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(raw.encode("latin-1"))
        received = b""
        connection.settimeout(patience)
        try:
            while part := connection.recv(65_536):
                received += part
        except (TimeoutError, ConnectionError):
            pass
    return received.decode("latin-1")


def request(
    target: str = "/services/app/x", *lines: str, method: str = "POST", body: str = ""
) -> str:
    head = [f"{method} {target} HTTP/1.1", "Host: gateway.example", "Connection: close", *lines]
    token = [f"{name}: {value}" for name, value in MEMBER.items()]
    return "\r\n".join([*head, *token, "", body])


def statuses(answer: str) -> list[str]:
    return re.findall(r"HTTP/1\.1 (\d{3}) ", answer)


SMUGGLED = "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\nX: "
FRAMING = {
    "length and coding": ["Content-Length: 6", "Transfer-Encoding: chunked"],
    "coding and length": ["Transfer-Encoding: chunked", "Content-Length: 6"],
    "two lengths": ["Content-Length: 6", "Content-Length: 0"],
    "two equal lengths": ["Content-Length: 6", "Content-Length: 6"],
    "a list of lengths": ["Content-Length: 6, 6"],
    "a signed length": ["Content-Length: +6"],
    "a negative length": ["Content-Length: -6"],
    "a hexadecimal length": ["Content-Length: 0x6"],
    "a length with an underscore": ["Content-Length: 1_0"],
    "an empty length": ["Content-Length: "],
    "an unknown coding": ["Transfer-Encoding: xchunked"],
    "a coding after chunked": ["Transfer-Encoding: chunked, identity"],
    "a coding before chunked": ["Transfer-Encoding: gzip, chunked"],
    "two codings": ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
    "twice chunked": ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    "a quoted coding": ['Transfer-Encoding: "chunked"'],
    "a blank before the colon": ["Transfer-Encoding : chunked"],
    "a blank before the name": ["X: y", " Transfer-Encoding: chunked"],
    "a folded line": ["Transfer-Encoding:", " chunked"],
    "a vertical tab": ["Transfer-Encoding: \x0bchunked"],
    "a control in the name": ["Transfer\x00-Encoding: chunked"],
    "a bare line feed": ["X: y\nTransfer-Encoding: chunked"],
    "a bare return": ["X: y\rTransfer-Encoding: chunked"],
    "a NUL in a value": ["X: a\x00b"],
    "no colon": ["Nonsense"],
}


@pytest.mark.parametrize("lines", FRAMING.values(), ids=FRAMING.keys())
def test_a_body_whose_end_is_unclear_is_refused(gateway: Gateway, lines: list[str]) -> None:
    answer = send(gateway, request("/services/app/x", *lines, body=SMUGGLED))
    assert statuses(answer) == ["400"] or (statuses(answer) == ["413"] and "Length" in lines[0])
    assert gateway.upstream.seen == []


def test_a_coding_in_http_1_0_is_refused(gateway: Gateway) -> None:
    raw = request("/services/app/x", "Transfer-Encoding: chunked", body=SMUGGLED)
    answer = send(gateway, raw.replace("HTTP/1.1", "HTTP/1.0", 1))
    assert statuses(answer)[:1] == ["400"]
    assert gateway.upstream.seen == []


@pytest.mark.parametrize("size", ["-1", "0x1", "1_", "g", "", "ffffffffffffffffff", " 1"])
def test_a_wrong_chunk_is_refused(gateway: Gateway, size: str) -> None:
    raw = request("/services/app/x", "Transfer-Encoding: chunked", body=f"{size}\r\na\r\n0\r\n\r\n")
    answer = send(gateway, raw)
    assert "200" not in statuses(answer)
    assert gateway.upstream.seen == []


def test_what_follows_a_body_is_no_request_to_the_upstream(gateway: Gateway) -> None:
    """A pipelined request is the caller's next one: through the gateway, with its checks."""
    raw = request("/services/app/first", "Content-Length: 5", body="12345")
    raw = raw.replace("Connection: close\r\n", "", 1)
    answer = send(gateway, raw + "GET /admin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert statuses(answer) == ["200", "404"]
    assert [each["target"] for each in gateway.upstream.seen] == ["/first"]
    assert gateway.upstream.seen[0]["body"] == "12345"


TARGETS = {
    "an absolute one": "http://evil.example/services/app/x",
    "an absolute one with a login": "http://evil.example@other.example/services/app/x",
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_a_host_in_the_target_leads_nowhere_else(gateway: Gateway, target: str) -> None:
    answer = send(gateway, request(target, method="GET"))
    assert statuses(answer) in (["200"], ["400"])
    for seen in gateway.upstream.seen:
        assert seen["target"] == "/x"
        assert "evil" not in str(seen)


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example/services/app/x",
        "/services/app//evil.example/x",
        "/services/app/../../health",
        "/services/app/%2e%2e/%2e%2e/health",
        "/services/app/..%2f..%2fhealth",
        "/services/app/..%5chealth",
        "/services/app\\..\\health",
        "/services/app/x%0d%0aX-Evil:%201",
        "/services/app/x%00",
        "/services/app@evil.example/x",
        "/services/app:80@evil.example/x",
        "/services/app.evil.example/x",
        "/services/../services/app/x",
        "/services/%2e%2e/services/app/x",
        "/services/other/../app/x",
        "services/app/x",
        "evil.example:80",
        "*",
        "/services/app/x\x00",
        "/services/app/x\x7f",
        "/services/app/\xe9",
        "/services/app/x y",
    ],
)
def test_a_path_that_leads_out_is_refused(gateway: Gateway, target: str) -> None:
    answer = send(gateway, request(target, method="GET"))
    assert statuses(answer)
    assert statuses(answer)[0] in ("400", "404")
    assert gateway.upstream.seen == []


def test_the_name_cannot_be_a_tunnel(gateway: Gateway) -> None:
    for target in ("evil.example:443", "/services/app/x"):
        answer = send(gateway, request(target, method="CONNECT"))
        assert "200" not in statuses(answer)
    assert gateway.upstream.seen == []


@pytest.mark.parametrize(
    "hosts",
    [
        ["Host: gateway.example", "Host: evil.example"],
        ["Host: gateway.example, evil.example"],
        ["Host: gateway.example/x"],
        ["Host: user@gateway.example"],
        ["Host: a b"],
    ],
)
def test_a_host_that_is_not_one_is_refused(gateway: Gateway, hosts: list[str]) -> None:
    raw = request(method="GET").replace("Host: gateway.example", "\r\n".join(hosts))
    assert statuses(send(gateway, raw)) == ["400"]
    assert gateway.upstream.seen == []


def test_an_upgrade_to_anything_but_a_websocket_is_none(gateway: Gateway) -> None:
    lines = ["Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"]
    raw = request("/services/app/x", *lines, method="GET")
    raw = raw.replace("Connection: close", "Connection: Upgrade, HTTP2-Settings")
    assert "101" not in statuses(send(gateway, raw, patience=0.5))
    for seen in gateway.upstream.seen:
        names = {name.lower() for name, _ in seen["headers"]}
        assert not names & {"upgrade", "http2-settings", "connection"}


def test_an_answer_that_expects_nothing_gets_nothing(gateway: Gateway) -> None:
    """`Expect` is answered here, when somebody reads the body."""
    raw = request("/services/app/x", "Content-Length: 2", "Expect: 100-continue", body="ok")
    answer = send(gateway, raw)
    assert statuses(answer) == ["100", "200"]
    bodies = [seen["body"] for seen in gateway.upstream.seen if seen["method"] == "POST"]
    assert bodies == ["ok"]
