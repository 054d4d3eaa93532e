"""Several processes of one server, seen from outside."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from app.config import Settings
from app.core.metrics import measurements
from app.core.metrics.processes import counted_together, directory, everybody
from app.core.metrics.sources.base import Look
from app.core.server import HANGING_SECONDS
from tests.core.metrics.scraping import Figures
from tests.core.migrating import as_environment
from tests.core.plugin import Addresses
from tests.core.serving import Server, running

AT_ONCE = 8
PATIENCE = 2 * HANGING_SECONDS
"""Longer than the server waits for a process that was killed just when it was asked."""
ROUTE = "/api/v1/seen"
SHARED_BYTES = 150_000_000
FORKING = f"""
import os, sys
from prometheus_client import Counter
counter = Counter("forked", "Processes")
shared = b"x" * {SHARED_BYTES}
told, tell = os.pipe()
child = os.fork()
counter.inc()
if child:
    os.read(told, 1)
    print("forked", flush=True)
else:
    os.write(tell, b"x")
sys.stdin.read()
"""
"""Two processes that have the same memory, until their input ends."""


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@dataclass
class Asked:
    """A server of two processes, each of which has answered some requests."""

    server: Server
    requests: int
    directory: Path

    def scrape(self) -> Figures:
        return Figures(self.server.get("/metrics").text)

    def processes(self) -> set[int]:
        """Those that have measured a request."""
        files = self.directory.glob("metrics-*/histogram_*.db")
        return {int(file.stem.rpartition("_")[2]) for file in files}


@pytest.fixture(scope="module")
def asked(addresses: Addresses, temporary: Path) -> Iterator[Asked]:
    variables = {
        **as_environment(addresses),
        "WEB_CONCURRENCY": "2",
        "LOG_FORMAT": "json",
        "TMPDIR": str(temporary),
    }
    with running(["-m", "tests.core.applications"], **variables) as server:
        asked = Asked(server, 0, temporary)
        end = time.monotonic() + PATIENCE
        with ThreadPoolExecutor(AT_ONCE) as callers:
            # Each on a connection of its own, so that both processes take some.
            while len(asked.processes()) < 2:
                assert time.monotonic() < end, server.output
                answers = callers.map(server.get, [ROUTE] * AT_ONCE)
                assert [answer.status_code for answer in answers] == [200] * AT_ONCE
                asked.requests += AT_ONCE
        yield asked


def counted(figures: Figures, **labels: str) -> float:
    return figures.sum("http_request_duration_seconds_count", **labels)


async def test_a_process_that_is_not_asked_looks_by_itself(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = asyncio.Event()

    @contextmanager
    def source(*_: object) -> Iterator[Look]:
        yield looked.set

    monkeypatch.setattr(measurements, "SOURCES", [source])
    monkeypatch.setattr(measurements, "directory", lambda: "of several processes")
    async with measurements.measuring(settings), asyncio.timeout(PATIENCE):
        await looked.wait()


def test_the_requests_of_all_processes_are_added_up(asked: Asked) -> None:
    end = time.monotonic() + PATIENCE
    while True:  # a request is counted after its answer, and gauges are set every few seconds
        figures = asked.scrape()
        seen = (counted(figures), figures.one("http_requests_in_progress"))
        if seen == (asked.requests, 0):
            break
        assert time.monotonic() < end, seen
        time.sleep(0.1)
    assert counted(figures, route=ROUTE, status="200") == asked.requests
    buckets = figures.all("http_request_duration_seconds_bucket", route=ROUTE)
    assert max(buckets) == asked.requests


def test_scrapes_are_not_logged(asked: Asked) -> None:
    asked.scrape()
    lines = asked.server.log_lines()
    assert {line["path"] for line in lines if line["logger"] == "app.access"} == {ROUTE}


def test_the_memory_of_all_processes_is_added_up(asked: Asked) -> None:
    figures = asked.scrape()
    pages = [
        int(Path(f"/proc/{process}/statm").read_text().split()[1]) for process in asked.processes()
    ]
    memory = sum(pages) * os.sysconf("SC_PAGESIZE")
    # What they share, such as the code of libraries, counts once.
    assert memory / 2 < figures.one("process_resident_memory_bytes") < 1.2 * memory


def test_memory_that_processes_share_counts_once() -> None:
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("this system does not tell what processes share")
    with (
        counted_together(),
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", FORKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as forking,
    ):
        assert forking.stdout is not None
        assert forking.stdout.readline() == b"forked\n"
        figures = Figures(generate_latest(everybody(CollectorRegistry())).decode())
        forking.communicate()
    assert figures.one("forked_total") == 2
    assert SHARED_BYTES < figures.one("process_resident_memory_bytes") < 2 * SHARED_BYTES


def test_a_killed_process_leaves_its_counts_and_no_gauge(asked: Asked) -> None:
    killed = max(asked.processes())
    os.kill(killed, signal.SIGKILL)
    end = time.monotonic() + PATIENCE
    while list(asked.directory.glob(f"metrics-*/gauge_live*_{killed}.db")):
        assert time.monotonic() < end
        # Whoever is waited for may have been the one that was killed.
        with suppress(httpx2.TransportError):
            asked.scrape()
    assert killed in asked.processes()
    assert counted(asked.scrape()) == asked.requests


def test_nothing_is_left_behind(asked: Asked) -> None:
    assert list(asked.directory.glob("metrics-*"))
    asked.server.terminate()
    asked.server.wait()
    assert not list(asked.directory.glob("metrics-*"))


def test_what_is_not_of_this_server_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(process: int, number: int) -> None:
        raise PermissionError(process, number)

    monkeypatch.setattr(os, "kill", refuse)
    with counted_together():
        Counter("counted_here", "By one process", registry=None).inc()
        place = directory()
        assert place is not None
        (place / "note.db").write_text("of somebody else")
        text = generate_latest(everybody(CollectorRegistry())).decode()
    assert "counted_here_total 1.0" in text
