"""Requests and answers go through as they are, bit by bit."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest
from httpx2 import Client

from tests.core.gateway.conftest import Gateway
from tests.core.gateway.upstream import MEGABYTE
from tests.core.plugin import MEMBER

Pairs = list[tuple[str, str]]


def seen_headers(gateway: Gateway) -> dict[str, str]:
    pairs = gateway.upstream.seen[-1]["headers"]
    names = [name.lower() for name, _ in pairs]
    assert len(names) == len(set(names)), f"sent twice: {names}"
    return {name.lower(): value for name, value in pairs}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_method_target_and_body(gateway: Gateway, method: str) -> None:
    answer = gateway.client.request(
        method, "/app/a%20b/%C3%A9/?x=1&x=2&y=%2F..", content=b"\x00\xffbody"
    )
    assert answer.status_code == 200
    assert answer.json() == gateway.upstream.seen[-1]
    assert answer.json()["method"] == method
    assert answer.json()["target"] == "/a%20b/%C3%A9/?x=1&x=2&y=%2F.."
    assert answer.json()["body"] == "\x00\xffbody"


def test_head_has_the_length_and_no_body(gateway: Gateway) -> None:
    answer = gateway.client.head("/app/answer")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len("answer"))


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "CONNECT"])
def test_other_methods_are_not_passed_on(gateway: Gateway, method: str) -> None:
    assert gateway.client.request(method, "/app/x").status_code == 405
    assert gateway.upstream.seen == []


def test_the_path_below_the_name_and_the_upstream_s_own(gateway: Gateway) -> None:
    for path, target in {"/app": "/", "/app/": "/", "/app?a": "/?a"}.items():
        assert gateway.client.get(path).json()["target"] == target
    assert gateway.client.get("/public").json()["target"] == "/base/"
    assert gateway.client.get("/public/x").json()["target"] == "/base/x"


def test_a_name_that_is_not_in_the_table_is_nothing(gateway: Gateway) -> None:
    for path in ("/other/x", "/127.0.0.1:80/x", "/appx", "/", "/APP/x"):
        answer = gateway.client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert gateway.client.get("/%61pp/x").status_code == 400
    assert gateway.upstream.seen == []


def test_a_public_upstream_asks_for_no_token(gateway: Gateway) -> None:
    with Client(base_url=gateway.client.base_url) as stranger:
        assert stranger.get("/public/x").status_code == 200
        assert "authorization" not in seen_headers(gateway)
        assert stranger.get("/public/x", headers={"Authorization": "Own 1"}).status_code == 200
        assert seen_headers(gateway)["authorization"] == "Own 1"


def test_the_token_is_passed_on(gateway: Gateway) -> None:
    gateway.client.get("/app/x")
    assert seen_headers(gateway).get("authorization") == MEMBER.get("Authorization")


def test_where_a_request_comes_from_is_not_the_caller_s_word(gateway: Gateway) -> None:
    said: Pairs = [
        ("Forwarded", "for=192.0.2.1;host=evil.example"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Port", "443"),
        ("X-Forwarded-Prefix", "/evil"),
        ("X_Forwarded_For", "192.0.2.1"),
        ("X-Real-IP", "192.0.2.1"),
        ("X-Original-URL", "/admin"),
        ("Client-Cert", ":bm9uZQ==:"),
        ("Remote-User", "admin"),
        ("X-Request-ID", "the-caller-s"),
    ]
    gateway.client.get("/app/x", headers=said)
    headers = seen_headers(gateway)
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["x-forwarded-host"] == gateway.client.base_url.netloc.decode()
    assert headers["x-forwarded-prefix"] == "/services/app"
    assert headers["host"] == f"127.0.0.1:{gateway.upstream.port}"
    assert headers["x-request-id"] == "the-caller-s"
    assert headers["via"] == "1.1 gateway"
    assert "evil" not in str(headers)
    assert not headers.keys() & {"forwarded", "x_forwarded_for", "x-real-ip", "x-original-url"}
    assert not headers.keys() & {"client-cert", "remote-user"}


def test_a_trusted_proxy_before_the_gateway_is_believed(gateway: Gateway) -> None:
    said = {"X-Forwarded-For": "192.0.2.66, 198.51.100.7", "X-Forwarded-Proto": "https"}
    gateway.client.get("/app/x", headers=said | {"Via": "1.0 first"})
    headers = seen_headers(gateway)
    assert headers["x-forwarded-for"] == "198.51.100.7"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["via"] == "1.0 first, 1.1 gateway"
    gateway.client.get("/app/x", headers={"X-Forwarded-For": "nonsense"})
    assert seen_headers(gateway)["x-forwarded-for"] == "unknown"


def test_fields_of_one_connection_stay_on_it(gateway: Gateway) -> None:
    said: Pairs = [
        ("Connection", "keep-alive, X-Named"),
        ("Connection", "x-forwarded-for, X-Request-ID"),
        ("X-Named", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic x"),
        ("TE", "trailers"),
        ("Trailer", "X-T"),
        ("Expect", "100-continue"),
        ("Cookie", "a=1; b=2"),
        ("X-Own", "kept"),
    ]
    gateway.client.get("/app/x", headers=said)
    headers = seen_headers(gateway)
    gone = {"x-named", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer"}
    assert not headers.keys() & {*gone, "connection", "expect", "upgrade"}
    assert (headers["cookie"], headers["x-own"]) == ("a=1; b=2", "kept")
    assert headers["x-forwarded-for"] == "127.0.0.1"  # naming it does not take it away

    answer = gateway.client.get("/app/answer")
    assert not answer.headers.keys() & {"keep-alive", "x-of-this-hop"}


@pytest.mark.parametrize("name", ["Authorization", "Cookie", "Host", "Content-Length"])
def test_nobody_has_a_field_taken_away_that_matters(gateway: Gateway, name: str) -> None:
    answer = gateway.client.get("/app/x", headers={"Connection": name})
    assert (answer.status_code, gateway.upstream.seen) == (400, [])


def test_the_client_adds_nothing_of_its_own(gateway: Gateway) -> None:
    with Client(base_url=gateway.client.base_url, headers=MEMBER) as client:
        for name in ("user-agent", "accept", "accept-encoding", "connection"):
            del client.headers[name]
        client.post("/app/x", content=b"x")
    own = {"user-agent", "accept", "accept-encoding", "content-type", "connection"}
    assert not seen_headers(gateway).keys() & own


def test_the_answer_comes_as_it_is(gateway: Gateway) -> None:
    answer = gateway.client.get("/app/answer", headers={"X-Request-ID": "mine"})
    assert answer.headers.get_list("set-cookie") == ["a=1; HttpOnly", "b=2; Secure"]
    assert answer.headers.get_list("x-request-id") == ["mine"]
    assert answer.headers.get_list("x-frame-options") == ["SAMEORIGIN"]
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert len(answer.headers.get_list("date")) == 1


@pytest.mark.parametrize("status", [201, 204, 301, 302, 304, 307, 400, 401, 404, 418, 429, 500])
def test_whatever_the_upstream_answers_is_answered(gateway: Gateway, status: int) -> None:
    answer = gateway.client.get(f"/app/answer?status={status}", follow_redirects=False)
    assert answer.status_code == status
    assert answer.headers["location"] == "http://elsewhere.example/"  # passed on, not followed


def test_compressed_bytes_stay_compressed(gateway: Gateway) -> None:
    gateway.upstream.raw = (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
    )
    with gateway.client.stream("GET", "/raw/x") as answer:
        assert b"".join(answer.iter_raw()) == b"abc"
        assert answer.headers["content-encoding"] == "gzip"


def test_large_bodies_both_ways(gateway: Gateway) -> None:
    assert gateway.client.get("/app/download").content == MEGABYTE * 8
    size = 3 * len(MEGABYTE)
    assert gateway.client.post("/app/upload", content=MEGABYTE * 3).json() == {"size": size}
    parts = iter([MEGABYTE] * 3)
    assert gateway.client.post("/app/upload", content=parts).json() == {"size": size}


def test_parts_go_through_when_they_come_both_ways(gateway: Gateway) -> None:
    """The answer to each part is there before the next one is sent."""
    with by_hand(gateway, "POST", "app/back", "Transfer-Encoding: chunked") as connection:
        received = b""
        for number in range(5):
            part = b"part %d" % number
            connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))
            while not received.endswith(part + b"\r\n"):
                received += connection.recv(65_536)
    assert received.startswith(b"HTTP/1.1 200")


@contextmanager
def by_hand(gateway: Gateway, method: str, path: str, *lines: str) -> Iterator[socket.socket]:
    """Send a header, and leave the body to the test."""
    url = gateway.client.base_url
    head = [f"{method} {url.path}{path} HTTP/1.1", f"Host: {url.host}", *lines]
    head += [f"{name}: {value}" for name, value in MEMBER.items()]
    with socket.create_connection((url.host, url.port or 0), timeout=20) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        yield connection


def test_events_are_there_at_once_and_end_with_the_caller(gateway: Gateway) -> None:
    with gateway.client.stream("GET", "/app/forever") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        assert next(answer.iter_raw()).startswith(b"data: 0\n\n")
        assert not gateway.upstream.gone.is_set()
    assert gateway.upstream.gone.wait(20)


def test_a_body_has_a_limit_of_the_upstream_s(gateway: Gateway) -> None:
    """Another one than the service's own endpoints have, declared or not."""
    body = b"x" * 100_000
    assert gateway.client.post("/narrow/upload", content=body).json() == {"size": 100_000}
    assert gateway.client.post("/narrow/upload", content=body + b"x").status_code == 413
    answer = gateway.client.post("/narrow/upload", content=iter([body, b"x"]))
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


def test_header_and_target_have_limits(gateway: Gateway) -> None:
    answer = gateway.client.get("/app/x", headers={"X-Large": "x" * 33_000})
    assert (answer.status_code, answer.json()["code"]) == (431, "headers_too_large")
    answer = gateway.client.get("/app/" + "x" * 9_000)
    assert (answer.status_code, answer.json()["code"]) == (414, "target_too_long")
    assert gateway.upstream.seen == []


def test_places_at_an_upstream_are_limited_and_given_back(gateway: Gateway) -> None:
    with gateway.client.stream("GET", "/narrow/forever"):
        answer = gateway.client.get("/narrow/x")
        assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
        assert answer.headers["retry-after"] == "1"
        assert gateway.client.get("/app/x").status_code == 200
    assert gateway.upstream.gone.wait(20)
    end = monotonic() + 20
    while gateway.client.get("/narrow/x").status_code == 503:
        assert monotonic() < end


def test_what_is_for_operators_is_not_passed_on(gateway: Gateway) -> None:
    """The upstream would see the gateway's address, which may be one of `INTERNAL_NETWORKS`."""
    for path in ("/metrics", "/ready", "/health/detailed", "/%6detrics"):
        answer = gateway.client.get(f"/app{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert gateway.client.post(f"/app{path}").status_code == 404
    assert gateway.upstream.seen == []
    assert gateway.client.get("/bare/metrics").json()["target"] == "/metrics"


def test_the_caller_s_deadline_is_passed_on_and_kept(gateway: Gateway) -> None:
    gateway.client.get("/app/x", headers={"X-Request-Timeout": "9000"})
    assert 0 < int(seen_headers(gateway)["x-request-timeout"]) <= 9000
    gateway.upstream.raw = None
    answer = gateway.client.get("/raw/x", headers={"X-Request-Timeout": "100"})
    assert (answer.status_code, answer.json()["code"]) == (504, "timeout")
    gateway.client.get("/app/x", headers={"X-Request-Timeout": "soon"})
    assert "x-request-timeout" not in seen_headers(gateway)


def test_an_upload_that_stops_is_given_up(gateway: Gateway) -> None:
    with by_hand(gateway, "POST", "idle/upload", "Content-Length: 10") as connection:
        connection.sendall(b"half")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 408")


def test_an_answer_that_is_not_read_is_given_up(gateway: Gateway) -> None:
    """Else one caller could take all places at an upstream for as long as it likes."""
    end = monotonic() + 30
    with by_hand(gateway, "GET", "idle/download"):
        while gateway.client.get("/idle/answer").status_code != 503:
            assert monotonic() < end
        while gateway.client.get("/idle/answer").status_code != 200:
            assert monotonic() < end


def test_the_access_log_names_the_upstream_and_nothing_else(gateway: Gateway) -> None:
    gateway.client.get("/app/some/path?with=query", headers={"X-Request-ID": "logged"})
    end = monotonic() + 20
    lines: list[dict[str, object]] = []
    while not lines and monotonic() < end:
        lines = [line for line in gateway.log("request") if line["request_id"] == "logged"]
    assert lines[0]["route"] == "/services/app/{path}"
    assert lines[0]["path"] == "/services/app/some/path"
    assert lines[0]["status"] == 200


def test_requests_are_counted_as_all_others(gateway: Gateway) -> None:
    first = int(gateway.client.get("/app/x").headers["ratelimit-remaining"])
    assert int(gateway.client.get("/app/x").headers["ratelimit-remaining"]) == first - 1


def test_each_upstream_is_seen_in_the_health_report(gateway: Gateway) -> None:
    end, states = monotonic() + 20, dict[str, str]()
    while states.get("upstream:app") != "up":  # at most some looks, should the machine be busy
        assert monotonic() < end, states
        report = gateway.client.get(f"{gateway.server.url}/ready").json()["components"]
        states = {name: each["status"] for name, each in report.items()}
    assert states["upstream:dead"] == "degraded"


def test_the_api_description_leaves_it_out(gateway: Gateway) -> None:
    document = gateway.client.get(f"{gateway.server.url}/openapi.json").json()
    assert not [path for path in document["paths"] if path.startswith("/services")]
