"""What can only be seen from outside of the process."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.config import Settings
from app.core.logging import LONGEST_PATH
from tests.core.migrating import as_environment
from tests.core.plugin import Addresses
from tests.core.serving import START_SECONDS, running

LONG_PATH = "/long" + 2000 * "x"
FIELDS = {"event", "level", "timestamp", "logger"}


@dataclass(frozen=True)
class Life:
    """What was seen of one process from its start to its end."""

    ready: httpx2.Response
    ready_at_the_end: httpx2.Response
    slow: httpx2.Response
    lines: list[dict[str, Any]]
    output: str

    def of(self, logger: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["logger"] == logger]


@pytest.fixture(scope="module")
def life(addresses: Addresses) -> Life:
    """Start a service, ask it for this and that, tell it to stop while a request is in flight."""
    variables = environment(addresses, SHUTDOWN_DRAIN_SECONDS="30")
    with running(["-m", "tests.core.applications"], **variables) as server:
        ready = server.wait_until_ready()
        server.get("/no/such/path?token=hunter2", request_id="unknown-path")
        server.get(LONG_PATH)
        server.shake_hands("/no/such/socket?ticket=hunter2")
        server.get("/api/v1/fail", request_id="failing")

        answers: list[httpx2.Response] = []
        caller = threading.Thread(target=lambda: answers.append(server.get("/api/v1/slow")))
        caller.start()
        server.get("/api/v1/slow/begun")
        server.terminate()
        ready_at_the_end = server.get("/ready")
        caller.join()
        server.process.send_signal(signal.SIGINT)  # Ctrl-C: nobody waits for the rest of the time
        server.wait()
    return Life(ready, ready_at_the_end, answers[0], server.log_lines(), "".join(server.output))


def environment(addresses: Addresses, **more: str) -> dict[str, str]:
    start = {"ENVIRONMENT": "staging", "LOG_FORMAT": "json", "LOG_LEVEL": "INFO"}
    return {**start, **as_environment(addresses), **more}


def test_it_is_ready_until_it_is_told_to_stop(life: Life) -> None:
    assert life.ready.status_code == 200
    assert life.ready_at_the_end.status_code == 503
    assert life.ready_at_the_end.json()["components"]["shutdown"]["status"] == "down"


def test_a_request_in_flight_is_finished(life: Life) -> None:
    assert (life.slow.status_code, life.slow.json()) == (200, "finished")
    assert "Application shutdown complete." in [line["event"] for line in life.lines]


def test_every_line_is_json_with_the_same_fields(life: Life) -> None:
    assert {line["logger"] for line in life.lines} >= {"uvicorn.error", "app.access", "app.errors"}
    for line in life.lines:
        assert line.keys() >= FIELDS


def test_nobody_is_told_what_serves(life: Life) -> None:
    assert "server" not in life.ready.headers


def test_a_request_is_one_line_with_its_id_and_probes_are_none(life: Life) -> None:
    assert life.of("uvicorn.access") == []
    asked = [line["path"] for line in life.of("app.access")]
    assert sorted(asked) == [
        "/api/v1/fail",
        "/api/v1/slow",
        "/api/v1/slow/begun",
        LONG_PATH[:LONGEST_PATH],
        "/no/such/path",
        "/no/such/socket",
    ]
    line = next(line for line in life.of("app.access") if line["path"] == "/no/such/path")
    assert line["request_id"] == "unknown-path"
    assert (line["method"], line["route"], line["status"]) == ("GET", "unmatched", 404)
    assert line["duration_ms"] >= 0


def test_what_callers_choose_is_logged_in_part(life: Life) -> None:
    """Also of a WebSocket, of which uvicorn would log the query."""
    assert "/no/such/socket" in life.output
    assert LONG_PATH not in life.output
    assert "hunter2" not in life.output


def test_the_route_is_the_whole_template(life: Life) -> None:
    assert "/api/v1/slow" in {line["route"] for line in life.of("app.access")}


def test_an_unexpected_error_is_logged_with_its_trace_but_no_secret(life: Life) -> None:
    (line,) = life.of("app.errors")
    assert line["request_id"] == "failing"
    assert "RuntimeError" in line["exception"]
    assert "hunter2" not in life.output


def test_staging_tells_what_production_will_refuse(life: Life) -> None:
    said = [line["problem"].split()[0] for line in life.of("app.settings")]
    assert {"SECRET_KEY", "ALLOWED_HOSTS"} <= set(said)


def test_the_service_itself_serves_with_several_processes(addresses: Addresses) -> None:
    variables = environment(addresses, WEB_CONCURRENCY="2", SHUTDOWN_DRAIN_SECONDS="0")
    with running(**variables) as server:
        assert server.wait_until_ready().status_code == 200
        end = time.monotonic() + START_SECONDS
        while sum("Started server process" in line for line in list(server.output)) < 2:
            assert time.monotonic() < end, server.output
            time.sleep(0.05)
        server.terminate()
        server.wait()
    events = [line["event"] for line in server.log_lines()]
    assert sum(event.startswith("Started parent process") for event in events) == 1
    assert sum(event.startswith("Started server process") for event in events) == 2


def test_missing_settings_end_the_start_in_a_line_each(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app"],
        check=False,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": os.pathsep.join((str(Path.cwd()), os.environ.get("PYTHONPATH", "")))},
        cwd=tmp_path,
        timeout=START_SECONDS,
    )
    expected = {
        f"configuration: {name.upper()} is required (see .env.example)"
        for name, field in Settings.model_fields.items()
        if field.is_required()
    }
    assert (done.returncode, set(done.stderr.splitlines())) == (1, expected)
