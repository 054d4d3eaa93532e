"""Nobody can say that they come from elsewhere: a real server, with and without a proxy before it.

On loopback every address of 127.0.0.0/8 is one's own: 127.0.0.1 plays the trusted proxy, 127.0.0.9
a stranger who calls past it.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urlsplit

import pytest

from tests.core.migrating import as_environment
from tests.core.plugin import Addresses
from tests.core.serving import Server, running

PROXY = "127.0.0.1"
STRANGER = "127.0.0.9"
VISITOR = "198.51.100.7"
LIMIT = 1_000_000
PATIENCE = 30

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Seen:
    """What the service has seen of a caller."""

    client: str | None
    url: str
    status_of_details: int
    left: int


@pytest.fixture(scope="module")
def server(addresses: Addresses) -> Iterator[Server]:
    variables = {
        "ENVIRONMENT": "staging",
        "FORWARDED_ALLOW_IPS": f"{PROXY},10.0.0.0/8,fd00::/8",
        "INTERNAL_NETWORKS": "192.168.0.0/16,fd12::/16",
        "RATE_LIMIT_DEFAULT": f"{LIMIT}/day",
        "LOG_FORMAT": "json",
        "SHUTDOWN_DRAIN_SECONDS": "0",
        **as_environment(addresses),
    }
    with running(["-m", "tests.core.applications"], **variables) as server:
        yield server


def ask(server: Server, path: str, source: str, headers: Headers) -> tuple[HTTPResponse, bytes]:
    """Ask from an address, with headers as they are given, even several of one name."""
    target = urlsplit(server.url)
    host = target.hostname or ""
    connection = HTTPConnection(host, target.port, timeout=10, source_address=(source, 0))
    with closing(connection):
        connection.putrequest("GET", path, skip_host=True)
        for name, value in [("Host", "api.example.com"), *headers]:
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer, answer.read()


def look(server: Server, source: str, *headers: tuple[str, str]) -> Seen:
    answer, body = ask(server, "/api/v1/seen", source, headers)
    details, _ = ask(server, "/health/detailed", source, headers)
    left = int(answer.headers["RateLimit-Remaining"])
    return Seen(**json.loads(body), status_of_details=details.status, left=left)


def forwarded(value: str) -> tuple[str, str]:
    return "X-Forwarded-For", value


SPOOFED = {
    "leftmost": [forwarded("192.168.0.1, 203.0.113.5")],
    "alone": [forwarded("192.168.0.1")],
    "several headers": [forwarded("192.168.0.1"), forwarded("192.168.0.2")],
    "trusted proxies only": [forwarded("10.0.0.1")],
    "IPv6": [forwarded("fd12::1")],
    "with a port": [forwarded("192.168.0.1:80, [fd12::1]:443")],
    "garbage": [forwarded("'; DROP TABLE users --"), forwarded("\xff" * 300)],
    "other names": [
        ("Forwarded", "for=192.168.0.1;host=evil.example.net;proto=https"),
        ("X-Real-IP", "192.168.0.1"),
        ("True-Client-IP", "192.168.0.1"),
        ("CF-Connecting-IP", "192.168.0.1"),
        ("X-Forwarded-Host", "evil.example.net"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Port", "443"),
        ("X-Forwarded-Prefix", "/evil"),
    ],
}


@pytest.mark.parametrize("headers", SPOOFED.values(), ids=SPOOFED.keys())
def test_a_stranger_is_who_they_are(server: Server, headers: Headers) -> None:
    before = look(server, STRANGER)
    seen = look(server, STRANGER, *headers)
    assert seen.client == STRANGER
    assert seen.url == "http://api.example.com/api/v1/seen"
    assert seen.status_of_details == 403
    assert seen.left == before.left - 2  # the same counter, which the details have counted too


BY_PROXY = {
    "as it is": [forwarded(VISITOR)],
    "spoofed leftmost": [forwarded(f"192.168.0.1, {VISITOR}")],
    "spoofed header": [forwarded("192.168.0.1"), forwarded(VISITOR)],
    "spoofed proxy": [forwarded(f"192.168.0.1, 203.0.113.5, {VISITOR}, 10.2.3.4, fd00::1")],
    "spoofed garbage": [forwarded("<script>,,"), forwarded(VISITOR)],
    "with a port": [forwarded(f"192.168.0.1:1, {VISITOR}:50000")],
    "spoofed others": [("X-Real-IP", "192.168.0.1"), forwarded(VISITOR)],
}


@pytest.mark.parametrize("headers", BY_PROXY.values(), ids=BY_PROXY.keys())
def test_behind_the_proxy_the_last_one_before_it_counts(server: Server, headers: Headers) -> None:
    before = look(server, PROXY, forwarded(VISITOR))
    seen = look(server, PROXY, *headers)
    assert (seen.client, seen.status_of_details) == (VISITOR, 403)
    assert seen.left == before.left - 2


@pytest.mark.parametrize("said", ["2001:db8::7", "[2001:db8::7]:443", "2001:0db8:0::7"])
def test_visitors_by_ipv6(server: Server, said: str) -> None:
    assert look(server, PROXY, forwarded(f"fd12::1, {said}")).client == "2001:db8::7"


@pytest.mark.parametrize("said", ["garbage", "_hidden", "unknown", "192.168.0.1'", "\xff" * 300])
def test_a_proxy_that_says_nonsense_speaks_of_nobody(server: Server, said: str) -> None:
    before = look(server, PROXY, forwarded("nonsense"))
    seen = look(server, PROXY, forwarded(f"192.168.0.1, {said}"))
    assert (seen.client, seen.status_of_details) == (None, 403)
    assert seen.left == before.left - 2


def test_the_proxy_tells_the_scheme_but_not_the_host(server: Server) -> None:
    said = [
        forwarded(VISITOR),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example.net"),
    ]
    assert look(server, PROXY, *said).url == "https://api.example.com/api/v1/seen"
    nonsense = ("X-Forwarded-Proto", "javascript")
    assert look(server, PROXY, nonsense).url == "http://api.example.com/api/v1/seen"


def test_the_internal_network_is_seen_behind_the_proxy(server: Server) -> None:
    assert look(server, PROXY, forwarded("192.168.0.1")).status_of_details != 403


def test_the_log_says_the_same(server: Server) -> None:
    said = forwarded("192.168.0.1")
    ask(server, "/api/v1/seen", STRANGER, [said, ("X-Request-ID", "spoofed")])
    ask(server, "/api/v1/seen", PROXY, [said, ("X-Request-ID", "told")])
    end = time.monotonic() + PATIENCE
    while not {"spoofed", "told"} <= (clients := clients_logged(server)).keys():
        assert time.monotonic() < end, clients
        time.sleep(0.01)
    assert (clients["spoofed"], clients["told"]) == (STRANGER, "192.168.0.1")


def clients_logged(server: Server) -> dict[str, str]:
    """Read from the log who has asked, by the ids of their requests."""
    return {
        line["request_id"]: line["client"]
        for line in server.log_lines()
        if line["logger"] == "app.access"
    }
