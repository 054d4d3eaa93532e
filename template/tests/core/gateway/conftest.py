"""One gateway, a process of its own, before one upstream: shared by all tests."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from socket import socket

import pytest
from httpx2 import Client

from tests.core.gateway.upstream import Upstream, upstream_running
from tests.core.migrating import as_environment
from tests.core.plugin import MEMBER, Addresses
from tests.core.serving import Server, running

ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
HASTY_SECONDS = 2
"""How soon that upstream has to answer."""
LARGEST_MESSAGE = 2_000_000
"""Of all upstreams, so that the server takes none that is larger."""
REST_SECONDS = 1
"""How long the open breakers of fragile upstreams rest."""


@dataclass(frozen=True)
class Gateway:
    """The gateway and what is behind it."""

    server: Server
    upstream: Upstream
    client: Client

    def log(self, event: str) -> list[dict[str, object]]:
        """The lines of one kind, up to now."""
        lines = [json.loads(line) for line in list(self.server.output)]
        return [line for line in lines if line["event"] == event]


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    with upstream_running() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def full_port() -> Iterator[int]:
    """Of a server that accepts nobody, with its queue full: a connection to it takes for ever."""
    with socket() as server, ExitStack() as waiting:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(2):
            caller = waiting.enter_context(socket())
            caller.setblocking(False)
            caller.connect_ex(server.getsockname())
        yield server.getsockname()[1]


@pytest.fixture(scope="session")
def dead_port() -> Iterator[int]:
    """On which nobody listens, and nobody else can."""
    with socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture(scope="session")
def gateway_server(
    addresses: Addresses, upstream: Upstream, full_port: int, dead_port: int
) -> Iterator[Server]:
    url, raw = f"http://127.0.0.1:{upstream.port}", f"http://127.0.0.1:{upstream.raw_port}"
    fragile = {"url": raw, "breaker_failures": 2, "breaker_rest": REST_SECONDS}
    table = {
        "app": {"url": url, "health": "/answer"},
        "public": {"url": f"{url}/base", "public": True},
        "talk": {"url": url, "public": True},
        "raw": {"url": raw, "timeout": 5, "breaker_failures": 1000},
        "fragile": {**fragile, "timeout": 5},
        "hanging": {**fragile, "timeout": 0.3},
        "fallen": {**fragile, "breaker_rest": 600},
        "hasty": {"url": url, "timeout": HASTY_SECONDS, "breaker_failures": 1000},
        "slow": {"url": raw, "timeout": 0.2, "breaker_failures": 1000},
        "dead": {"url": f"http://127.0.0.1:{dead_port}", "breaker_failures": 1000},
        "full": {
            "url": f"http://127.0.0.1:{full_port}",
            "connect_timeout": 0.2,
            "breaker_failures": 1000,
        },
        "unknown": {"url": "http://no-such-host.invalid", "breaker_failures": 1000},
        "narrow": {
            "url": url,
            "max_concurrent": 1,
            "max_sockets": 1,
            "max_body_bytes": 100_000,
        },
        "idle": {"url": url, "max_concurrent": 1, "idle_timeout": 3},
        "terse": {"url": url, "max_message_bytes": 100_000},
        "wordy": {"url": url, "max_message_bytes": LARGEST_MESSAGE},
        "shared": {"url": url, "max_concurrent": 10, "max_sockets": 10},
        "square": {"url": url, "max_concurrent": 10, "public": True},
        "bare": {"url": url, "hidden": []},
    }
    variables = {
        "LOG_FORMAT": "json",
        "ENVIRONMENT": "staging",
        "SHUTDOWN_DRAIN_SECONDS": "0",
        "SHUTDOWN_GRACE_SECONDS": "1",
        "RATE_LIMIT_DEFAULT": "100000/day",
        "GATEWAY_UPSTREAMS": json.dumps(table),
        **as_environment(addresses),
    }
    with running(**variables) as server:
        yield server


@pytest.fixture
def gateway(gateway_server: Server, upstream: Upstream) -> Iterator[Gateway]:
    upstream.seen.clear()
    upstream.raw, upstream.raw_connections = ANSWER, 0
    upstream.raw_heads.clear()
    upstream.gone.clear()
    with Client(
        base_url=f"{gateway_server.url}/services", headers=MEMBER, timeout=10, trust_env=False
    ) as client:
        yield Gateway(gateway_server, upstream, client)
