"""A gateway before two real services, all three rendered from this template."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

import httpx2
import psutil
import pytest

from benchmarks.figures import Effort
from benchmarks.gateway import DIRECT, THROUGH, compare
from tests.support.figures import Figure
from tests.support.gateways import UPSTREAMS, Gateway, gateway_running

GIGABYTE = 1_000_000_000
PART = bytes(1_000_000)
MOST_MEMORY = 100_000_000
"""Bytes that the gateway may need more than when it is idle."""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with (
        TemporaryDirectory(prefix="groundwork-", ignore_cleanup_errors=True) as place,
        gateway_running(Path(place).resolve()) as gateway,
    ):
        yield gateway


@pytest.fixture
def client(gateway: Gateway) -> Iterator[httpx2.Client]:
    with httpx2.Client(
        base_url=f"{gateway.server.url}/services", headers=gateway.headers, timeout=60
    ) as client:
        yield client


class Memory:
    """The most memory that a process has held in a block, looked at all the time."""

    def __init__(self, process: int) -> None:
        self._process = psutil.Process(process)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.before = self.most = self._process.memory_info().rss

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def __str__(self) -> str:
        more = (self.most - self.before) / 1e6
        return f"{self.before / 1e6:.0f} MB idle, at most {more:.1f} MB more"

    def _look(self) -> None:
        while not self._stop.wait(0.01):
            self.most = max(self.most, self._process.memory_info().rss)


def test_each_upstream_has_its_own_data(client: httpx2.Client) -> None:
    for name in UPSTREAMS:
        made = client.post(f"/{name}/api/v1/projects", json={"name": f"of {name}"})
        assert made.status_code == 201, made.text
        found = client.get(f"/{name}{made.headers['location']}")
        assert found.json() == made.json()
        listed = client.get(f"/{name}/api/v1/projects").json()
        assert [project["name"] for project in listed["items"]] == [f"of {name}"]


def test_the_upstream_s_own_refusals_are_passed_on(client: httpx2.Client) -> None:
    answer = client.get("/orders/api/v1/projects/nonsense", headers={"X-Request-ID": "followed"})
    assert answer.status_code == 422
    assert answer.json()["instance"] == "/api/v1/projects/nonsense"  # it knows of no gateway
    assert answer.json()["request_id"] == "followed"
    for name in ("x-request-id", "content-security-policy", "x-frame-options", "date"):
        assert len(answer.headers.get_list(name)) == 1, name


def test_a_stranger_is_refused_at_the_gateway(gateway: Gateway, client: httpx2.Client) -> None:
    url = f"{gateway.server.url}/services/orders/api/v1/projects"
    answer = httpx2.get(url, headers={"X-Request-ID": "of-a-stranger"}, timeout=60)
    assert answer.status_code == 401
    assert client.get(url, headers={"X-Request-ID": "of-a-caller"}).status_code == 200
    end, output = monotonic() + 60, gateway.upstreams["orders"].output
    while not any("of-a-caller" in line for line in output):
        assert monotonic() < end
        sleep(0.05)
    assert not any("of-a-stranger" in line for line in output)


def test_its_benchmark_gives_figures(gateway: Gateway) -> None:
    found = list(compare(gateway, Effort(rounds=1, seconds=0.05, brief=True)))
    assert [figure.of for figure in found] == [DIRECT, THROUGH] * 3
    assert all(figure.values[0] > 0 for figure in found)


def test_a_gigabyte_down_in_little_memory(
    gateway: Gateway, client: httpx2.Client, figure: Figure
) -> None:
    with Memory(gateway.server.process.pid) as memory:
        size = 0
        with client.stream("GET", f"/orders/api/v1/bulk/{GIGABYTE}") as answer:
            for part in answer.iter_raw():
                size += len(part)
    assert size == GIGABYTE
    figure(f"1 GB down through the gateway: {memory}")
    assert memory.most - memory.before < MOST_MEMORY


def test_a_gigabyte_up_in_little_memory(
    gateway: Gateway, client: httpx2.Client, figure: Figure
) -> None:
    parts = (PART for _ in range(GIGABYTE // len(PART)))
    with Memory(gateway.server.process.pid) as memory:
        answer = client.post("/stock/api/v1/bulk", content=parts)
    assert answer.json() == GIGABYTE
    figure(f"1 GB up through the gateway: {memory}")
    assert memory.most - memory.before < MOST_MEMORY


def test_a_caller_who_reads_slowly_fills_no_memory(gateway: Gateway, client: httpx2.Client) -> None:
    """The gateway reads from the upstream no faster than its caller from it."""
    with (
        Memory(gateway.server.process.pid) as memory,
        client.stream("GET", f"/orders/api/v1/bulk/{GIGABYTE}") as answer,
    ):
        next(answer.iter_raw())
        for _ in range(20):  # requests that are answered meanwhile show that nobody is stuck
            assert httpx2.get(f"{gateway.server.url}/health", timeout=60).status_code == 200
    assert memory.most - memory.before < MOST_MEMORY


def test_an_upstream_that_is_gone_and_comes_back_degrades_nothing_else(
    gateway: Gateway, client: httpx2.Client
) -> None:
    """The last test: it takes an upstream away."""
    gone = gateway.upstreams["stock"]
    gone.stop(signal.SIGKILL)
    # The first may be sent on a connection whose end the gateway has not seen yet.
    assert client.get("/stock/health").status_code in {502, 503}
    answers = [client.get("/stock/health") for _ in range(10)]
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.json()["code"] for answer in answers} == {"service_unavailable"}
    assert client.get("/orders/health").status_code == 200
    end, seen, wanted = monotonic() + 30, (0, "", ""), (200, "degraded", "up")
    while seen != wanted:  # health remembers its look for a second
        assert monotonic() < end, seen
        ready = gateway.server.get("/ready")
        states = {name: each["status"] for name, each in ready.json()["components"].items()}
        seen = (ready.status_code, states["upstream:stock"], states["upstream:orders"])
        sleep(0.05)
