"""Who has no token gets nowhere, unless the upstream is public."""

import pytest
from aiohttp import ClientSession, WSServerHandshakeError
from httpx2 import Client

from tests.core.gateway.conftest import Gateway


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
