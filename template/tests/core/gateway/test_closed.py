"""Who has no token gets nowhere, unless the upstream is public; nor does he when it has ended."""

from time import monotonic, time

import pytest
from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError
from httpx2 import Client, RemoteProtocolError, Response

from app.core.auth.tokens import LEEWAY_SECONDS
from app.core.gateway import callers
from tests.core.gateway.conftest import Gateway
from tests.core.gateway.test_shares import calling, headers_of, taking
from tests.core.issuing.base import Issuer, bearer
from tests.core.plugin import TENANT

SECONDS_LEFT = 10


def test_a_closed_upstream_wants_a_token_before_anything_else(gateway: Gateway) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        with Client(base_url=gateway.client.base_url, headers=headers) as stranger:
            assert stranger.get("/app/x").status_code == 401
            assert stranger.post("/app/x", content=b"x" * 100).status_code == 401
            assert stranger.get("/app/..%2fx").status_code == 401
    assert gateway.upstream.seen == []


async def test_a_closed_upstream_wants_a_token(gateway: Gateway) -> None:
    async with ClientSession(gateway.server.url + "/services/") as stranger:
        with pytest.raises(WSServerHandshakeError) as refused:
            await stranger.ws_connect("app/socket")
        assert refused.value.status == 401
        async with stranger.ws_connect("talk/socket") as socket:
            await socket.close()


def test_a_caller_is_the_same_from_everywhere(gateway: Gateway, issuer: Issuer) -> None:
    here, there = (headers_of(issuer, "traveller", f"198.51.100.{last}") for last in (1, 2))
    other = headers_of(issuer, "neighbour", "198.51.100.1")
    with (
        calling(gateway, here) as first,
        calling(gateway, there) as second,
        calling(gateway, other) as neighbour,
        taking(first, "/shared/forever"),
    ):
        assert second.get("/shared/answer").status_code == 429
        assert neighbour.get("/shared/answer").status_code == 200


def test_a_token_ends_here_when_it_ends_elsewhere() -> None:
    assert callers.LEEWAY_SECONDS == LEEWAY_SECONDS


def ending(issuer: Issuer) -> dict[str, str]:
    """The headers of a caller whose token is accepted for some seconds yet."""
    end = int(time()) - LEEWAY_SECONDS + SECONDS_LEFT
    return bearer(issuer.token(tenant=TENANT, exp=end))


def read_all(answer: Response) -> None:
    end = monotonic() + SECONDS_LEFT + 10
    for _ in answer.iter_raw():
        assert monotonic() < end


def test_an_answer_ends_with_the_token(gateway: Gateway, issuer: Issuer) -> None:
    with (
        calling(gateway, ending(issuer)) as client,
        client.stream("GET", "/talk/forever") as public,
        client.stream("GET", "/app/forever") as closed,
    ):
        assert (public.status_code, closed.status_code) == (200, 200)
        with pytest.raises(RemoteProtocolError):
            read_all(closed)
        assert client.get("/app/answer").status_code == 401
        assert next(public.iter_raw())


async def test_a_socket_ends_with_the_token(gateway: Gateway, issuer: Issuer) -> None:
    async with (
        ClientSession(gateway.server.url + "/services/", headers=ending(issuer)) as session,
        session.ws_connect("talk/socket") as public,
        session.ws_connect("app/socket") as closed,
    ):
        message = await closed.receive(SECONDS_LEFT + 10)
        expected = WSMsgType.CLOSE, 1008, "The token has expired"
        assert (message.type, message.data, message.extra) == expected
        await public.send_str("still there")
        assert await public.receive_str() == "STILL THERE"
