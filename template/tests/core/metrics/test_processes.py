"""Several processes of one server, seen from outside."""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.core.metrics.scraping import Figures
from tests.core.migrating import as_environment
from tests.core.plugin import Addresses
from tests.core.serving import Server, running

REQUESTS = 40
PATIENCE = 20


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def server(addresses: Addresses, temporary: Path) -> Iterator[Server]:
    """Two processes, which have been asked some things."""
    variables = {
        **as_environment(addresses),
        "WEB_CONCURRENCY": "2",
        "LOG_FORMAT": "json",
        "TMPDIR": str(temporary),
    }
    with running(["-m", "tests.core.applications"], **variables) as server:
        for _ in range(REQUESTS):
            # Each on a connection of its own, so that both processes take some.
            assert server.get("/api/v1/seen").status_code == 200
        until_answered_by(server, 2)
        yield server


def scrape(server: Server) -> Figures:
    return Figures(server.get("/metrics").text)


def counted(figures: Figures, **labels: str) -> float:
    return figures.sum("http_request_duration_seconds_count", **labels)


def processes(server: Server) -> set[int]:
    """The processes that serve, by what they have said when they began."""
    said = "\n".join(server.output)
    return {int(found) for found in re.findall(r"Started server process \[(\d+)\]", said)}


def until_answered_by(server: Server, number: int) -> None:
    """Wait until so many processes have begun."""
    end = time.monotonic() + PATIENCE
    while len(processes(server)) < number:
        assert time.monotonic() < end, server.output
        server.get("/health")


def test_the_requests_of_all_processes_are_added_up(server: Server) -> None:
    figures = scrape(server)
    route = "/api/v1/seen"
    assert counted(figures, route=route, status="200") == counted(figures) == REQUESTS
    assert figures.one("http_requests_in_progress") == 0
    assert len(list(figures.all("http_requests_in_progress"))) == 1
    buckets = figures.all("http_request_duration_seconds_bucket", route=route)
    assert max(buckets) == REQUESTS


def test_scrapes_are_not_logged(server: Server) -> None:
    scrape(server)
    asked = {line["path"] for line in server.log_lines() if line["logger"] == "app.access"}
    assert asked == {"/api/v1/seen"}


def test_the_memory_of_all_processes_is_added_up(server: Server) -> None:
    figures = scrape(server)
    pages = [
        int(Path(f"/proc/{process}/statm").read_text().split()[1]) for process in processes(server)
    ]
    memory = sum(pages) * os.sysconf("SC_PAGESIZE")
    assert figures.one("process_resident_memory_bytes") == pytest.approx(memory, rel=0.2)


def test_a_killed_process_leaves_its_counts_and_no_gauge(server: Server, temporary: Path) -> None:
    before = counted(scrape(server))
    killed = max(processes(server))
    os.kill(killed, signal.SIGKILL)
    end = time.monotonic() + PATIENCE
    while list(temporary.glob(f"metrics-*/gauge_live*_{killed}.db")):
        assert time.monotonic() < end
        scrape(server)
    assert counted(scrape(server)) == before
    assert list(temporary.glob(f"metrics-*/histogram_{killed}.db"))


def test_nothing_is_left_behind(server: Server, temporary: Path) -> None:
    assert list(temporary.glob("metrics-*"))
    server.terminate()
    server.wait()
    assert not list(temporary.glob("metrics-*"))
    with pytest.raises(httpx2.TransportError):
        server.get("/health")
