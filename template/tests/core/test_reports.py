"""What a project of Sentry gets, on a real connection."""

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import sentry_sdk
from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError

from app.config import Settings
from app.core.application import create_app
from app.core.auth import public
from app.core.jobs import Retries, enqueue, task
from app.core.jobs.port import sending_to
from tests.core.jobs.collected import Collected
from tests.core.plugin import caller_of, with_changes

SECRET = "postgresql://user:hunter2@10.1.2.3/name"  # noqa: S105 - nobody's


@task(retries=Retries(times=0))
async def give_up() -> None:
    """Fail."""
    raise LookupError("of a job")


router = APIRouter()


class Number(BaseModel):
    """What quotes its input when it is something else."""

    said: int


@router.post("/reported/{how}")
@public
async def fail(how: str, body: dict[str, str]) -> Number:
    """Fail, with a secret in the text and in a variable."""
    said = body["said"]
    match how:
        case "input":
            Number.model_validate(body)
        case "answer":
            return body  # type: ignore[return-value]
        case "statement":
            raise DBAPIError("SELECT :said", {"said": said}, LookupError(said))
    raise RuntimeError(f"cannot reach {SECRET} {len(said)}") from ValueError(said)


@dataclass
class Project:
    """What was reported."""

    dsn: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def take(self, body: bytes) -> None:
        self.bodies.append(body)
        lines = [json.loads(line) for line in body.splitlines() if line]
        self.events += [line for line in lines if "exception" in line]


@pytest.fixture
def project() -> Iterator[Project]:
    project = Project()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/1/api/7/envelope/"
            encoded = self.headers.get("Content-Encoding")
            project.take(gzip.decompress(body) if encoded == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        project.dsn = f"http://key@127.0.0.1:{server.server_address[1]}/1/7"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield project
        server.shutdown()
        thread.join()


async def test_unexpected_failures_are_reported_without_secrets(
    settings: Settings, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.core.reports.sentry.PATIENCE_SECONDS", 20)
    app = create_app(with_changes(settings, sentry_dsn=project.dsn), routers=[router])
    async with app.router.lifespan_context(app), caller_of(app, headers={}) as caller:
        client = sentry_sdk.get_client()
        assert client.integrations == {}  # they patch libraries
        assert not client.options["auto_session_tracking"]
        assert not client.options["send_client_reports"]
        headers = {"X-Request-ID": "of-the-request", "Cookie": "a=swordfish"}
        for how in ("text", "input", "answer", "statement"):
            path = f"{settings.api_v1_str}/reported/{how}?token=swordfish"
            answer = await caller.post(path, headers=headers, json={"said": "swordfish"})
            assert answer.status_code == 500
        assert (await caller.get("/no/such/path")).status_code == 404
        with sending_to(jobs := Collected()):
            await enqueue(give_up)
            await jobs.run_all()
    of_request, of_job = project.events[0], project.events[-1]
    types = [event["exception"]["values"][-1]["type"] for event in project.events]
    assert types == [
        "RuntimeError",
        "ValidationError",
        "ResponseValidationError",
        "DBAPIError",
        "LookupError",
    ]
    assert of_request["exception"]["values"][-1]["stacktrace"]["frames"]
    assert of_request["tags"]["request_id"] == "of-the-request"
    assert of_request["environment"] == settings.environment
    assert of_request["release"] == settings.app_version
    assert of_job["tags"]["job"] == give_up.name
    assert not sentry_sdk.get_client().is_active()
    sent = b"".join(project.bodies)
    for secret in (b"hunter2", b"swordfish"):
        assert secret not in sent


async def test_without_a_project_nothing_is_reported(settings: Settings, project: Project) -> None:
    app = create_app(settings, routers=[router])
    async with app.router.lifespan_context(app), caller_of(app, headers={}) as caller:
        answer = await caller.post(f"{settings.api_v1_str}/reported/text", json={"said": "x"})
    assert answer.status_code == 500
    assert project.bodies == []


def test_sentry_is_loaded_where_failures_are_reported_only() -> None:
    printed = subprocess.check_output(
        [sys.executable, "-c", "import sys, app.core.registry; print('sentry_sdk' in sys.modules)"],
        text=True,
    )
    assert printed == "False\n"


@pytest.mark.parametrize("dsn", ["nonsense", "https://sentry.example.com/1", "https://k@host/"])
def test_an_address_that_is_none_stops_the_start(settings: Settings, dsn: str) -> None:
    with pytest.raises(ValueError, match="must be an address such as") as refused:
        with_changes(settings, sentry_dsn=dsn)
    assert dsn not in str(refused.value)
