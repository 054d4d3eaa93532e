"""One caller leaves places to the others."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic

import pytest
from aiohttp import ClientSession, WSServerHandshakeError
from httpx2 import Client

from app.core.errors import RateLimitedError, ServiceUnavailableError
from app.core.gateway.upstreams import Places
from tests.core.gateway.conftest import Gateway
from tests.core.gateway.test_sockets import wait_until
from tests.core.issuing.base import Issuer, bearer
from tests.core.plugin import TENANT

EACH = 2
"""So many of the ten places one caller may have."""


def headers_of(issuer: Issuer, name: str, address: str) -> dict[str, str]:
    return {**bearer(issuer.token(name, tenant=TENANT)), "X-Forwarded-For": address}


@contextmanager
def calling(gateway: Gateway, headers: dict[str, str]) -> Iterator[Client]:
    base = gateway.client.base_url
    with Client(base_url=base, headers=headers, timeout=10, trust_env=False) as client:
        yield client


@contextmanager
def taking(client: Client, path: str, number: int = EACH) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(number):
            answer = stack.enter_context(client.stream("GET", path))
            assert answer.status_code == 200
        yield


def test_one_caller_gets_a_share_of_the_requests(gateway: Gateway, issuer: Issuer) -> None:
    one, other = (
        headers_of(issuer, name, address)
        for name, address in (("greedy", "192.0.2.1"), ("modest", "192.0.2.2"))
    )
    with calling(gateway, one) as greedy, calling(gateway, other) as modest:
        with taking(greedy, "/shared/forever"):
            answer = greedy.get("/shared/answer")
            assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
            assert answer.headers["retry-after"] == "1"
            assert greedy.get("/app/answer").status_code == 200
            assert modest.get("/shared/answer").status_code == 200
        end = monotonic() + 20
        while greedy.get("/shared/answer").status_code != 200:
            assert monotonic() < end


def test_without_a_token_a_caller_is_a_network(gateway: Gateway) -> None:
    first, second = ({"X-Forwarded-For": f"2001:db8::{last}"} for last in (1, 2))
    with (
        calling(gateway, first) as greedy,
        calling(gateway, second) as neighbour,
        calling(gateway, {"X-Forwarded-For": "2001:db8:0:1::1"}) as modest,
        taking(greedy, "/square/forever"),
    ):
        assert neighbour.get("/square/answer").status_code == 429
        assert modest.get("/square/answer").status_code == 200


async def test_one_caller_gets_a_share_of_the_sockets(gateway: Gateway, issuer: Issuer) -> None:
    base = gateway.server.url + "/services/shared/"
    one, other = headers_of(issuer, "a", "192.0.2.3"), headers_of(issuer, "b", "192.0.2.4")
    async with (
        ClientSession(base, headers=one) as greedy,
        ClientSession(base, headers=other) as modest,
        greedy.ws_connect("socket"),
        greedy.ws_connect("socket"),
        modest.ws_connect("socket"),
    ):
        with pytest.raises(WSServerHandshakeError) as refused:
            await greedy.ws_connect("socket")
        assert refused.value.status == 429
    await wait_until(lambda: sum("close_code" in each for each in gateway.upstream.seen) == 3)


def test_a_share_is_at_least_one_place_and_at_most_all() -> None:
    for most, share, each in ((1, 0.01, 1), (3, 0.5, 2), (3, 1.0, 3)):
        places = Places("app", "requests", most, share)
        with ExitStack() as stack:
            for _ in range(each):
                stack.enter_context(places.one(("a",)))
            with pytest.raises((RateLimitedError, ServiceUnavailableError)), places.one(("a",)):
                pass
            assert places.taken == each
        assert places.taken == 0
