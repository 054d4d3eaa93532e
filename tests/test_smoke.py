"""`docker/smoke.py` as the pipelines run it: every answer counts, and a 500 is none."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.outside import Request, outside
from tests.support.template import ROOT

SCRIPT = ROOT / "template/docker/smoke.py"
PATHS: dict[str, dict[str, Any]] = {
    "/health": {"get": {}},
    "/ready": {"get": {}},
    "/api/v1/projects": {"get": {}, "post": {}},
    "/api/v1/projects/{project_id}": {"get": {}, "patch": {}, "delete": {}, "parameters": []},
}


@contextmanager
def service(answers: dict[tuple[str, str], int]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Run a service that answers 422 to a body and 200 to all else, unless `answers` differs.

    Gives its address, and what it was asked.
    """
    asked: list[tuple[str, str]] = []

    def answer(request: Request) -> tuple[int, Any]:
        asked.append((request.method, request.path))
        usual = 200 if request.body is None else 422
        return answers.get((request.method, request.path), usual), {"paths": PATHS}

    with outside(answer) as address:
        yield address, asked


def run(address: str) -> subprocess.CompletedProcess[str]:
    """Run the script."""
    command = [sys.executable, "-I", str(SCRIPT), address]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_everything_is_asked_once() -> None:
    with service({}) as (address, asked):
        ran = run(address)
    assert ran.returncode == 0, ran.stderr
    somewhere = "/api/v1/projects/00000000-0000-4000-8000-000000000000"
    assert asked == [
        *(("GET", path) for path in ("/health", "/ready", "/openapi.json")),
        *(("GET", path) for path in ("/health", "/ready", "/api/v1/projects")),
        ("POST", "/api/v1/projects"),
        *((method, somewhere) for method in ("GET", "DELETE", "PATCH")),
    ]


@pytest.mark.parametrize("address", ["https://127.0.0.1:9", "127.0.0.1:9", "http://", "localhost"])
def test_an_address_that_cannot_be_asked_is_refused(address: str) -> None:
    ran = run(address)
    assert ran.returncode == 1
    assert ran.stderr == f"{address}: must be an address such as http://127.0.0.1:8000\n"


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_fault_of_the_service_fails(status: int) -> None:
    with service({("POST", "/api/v1/projects"): status}) as (address, _):
        ran = run(address)
    assert ran.returncode == 1
    assert ran.stderr == f"POST /api/v1/projects answered {status}\n"


@pytest.mark.parametrize("status", [401, 404, 409, 422, 429])
def test_a_refusal_is_an_answer(status: int) -> None:
    with service({("POST", "/api/v1/projects"): status}) as (address, _):
        assert run(address).returncode == 0


@pytest.mark.parametrize("path", ["/health", "/ready", "/openapi.json"])
def test_what_must_be_there_is_there(path: str) -> None:
    with service({("GET", path): 404}) as (address, _):
        ran = run(address)
    assert ran.returncode == 1
    assert ran.stderr == f"GET {path} answered 404\n"


def test_nobody_there_fails_in_a_line() -> None:
    ran = run("http://127.0.0.1:9")
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1
