"""`deploy/render/deploy.py` as a pipeline runs it, against a server that answers as Render does."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.outside import Request, outside
from tests.support.template import ROOT

SCRIPT = ROOT / "template/deploy/render/deploy.py"
KEY = "rnd_1a2b3c"


class Render:
    """Render's API for two services, each with two deploys so far.

    Attributes:
        course: what a new deploy becomes, look by look.
        asked: the requests that change something.
    """

    def __init__(self) -> None:
        self.course = ["build_in_progress", "pre_deploy_in_progress", "live"]
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.queued = False
        self.broken = 0
        self.deploys = {
            service: [
                {"id": f"{service}-3", "status": "live", "commit": {"id": "new"}},
                {"id": f"{service}-2", "status": "deactivated", "commit": {"id": "new"}},
                {"id": f"{service}-1", "status": "build_failed", "commit": {"id": "bad"}},
                {"id": f"{service}-0", "status": "deactivated", "commit": {"id": "old"}},
            ]
            for service in ("srv-web", "srv-worker")
        }
        self._looks: dict[str, int] = {}

    def answer(self, request: Request) -> tuple[int, Any]:
        """Answer as Render does."""
        if request.headers["Authorization"] != f"Bearer {KEY}":
            return 401, {"message": "Unauthorized"}
        _, _, _, service, what, *deploy = request.path.split("/")
        if request.method == "POST":
            return self._change(service, what, request.body)
        return self._look(service, deploy[0] if deploy else None)

    def _change(self, service: str, what: str, body: dict[str, str]) -> tuple[int, Any]:
        self.asked.append((f"{service}/{what}", body))
        started = {"id": f"{service}-9", "status": "created", "commit": {"id": "any"}}
        self.deploys[service].insert(0, started)
        return (202, None) if self.queued else (201, started)

    def _look(self, service: str, deploy: str | None) -> tuple[int, Any]:
        if deploy is None:
            return 200, [{"deploy": each, "cursor": "x"} for each in self.deploys[service]]
        if self.broken:
            self.broken -= 1
            return 503, None
        number = self._looks.get(deploy, 0)
        self._looks[deploy] = number + 1
        return 200, {"id": deploy, "status": self.course[min(number, len(self.course) - 1)]}


@pytest.fixture
def api() -> Iterator[tuple[Render, str]]:
    """The API, and where it is."""
    render = Render()
    with outside(render.answer) as address:
        yield render, f"{address}/v1"


def run(url: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script as a pipeline does, but impatiently."""
    environment = {"RENDER_API_KEY": KEY, "RENDER_SERVICES": "srv-web, srv-worker"}
    return subprocess.run(
        [sys.executable, "-I", str(SCRIPT), "--poll", "0.01", *arguments],
        env={**environment, "RENDER_API_URL": url, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_each_service_is_deployed_and_waited_for(api: tuple[Render, str]) -> None:
    render, url = api
    ran = run(url, "abc123")
    assert ran.returncode == 0, ran.stderr
    assert render.asked == [
        ("srv-web/deploys", {"commitId": "abc123"}),
        ("srv-worker/deploys", {"commitId": "abc123"}),
    ]
    assert ran.stdout.splitlines() == [
        f"{service}: {service}-9 is {status}"
        for service in ("srv-web", "srv-worker")
        for status in render.course
    ]


def test_a_deploy_that_waits_for_another_is_found(api: tuple[Render, str]) -> None:
    render, url = api
    render.queued = True
    ran = run(url, "abc123")
    assert ran.returncode == 0, ran.stderr
    assert "srv-worker: srv-worker-9 is live" in ran.stdout


@pytest.mark.parametrize(
    "status", ["build_failed", "pre_deploy_failed", "update_failed", "canceled", "deactivated"]
)
def test_what_fails_is_told_and_stops_the_rest(api: tuple[Render, str], status: str) -> None:
    render, url = api
    render.course = ["build_in_progress", status]
    ran = run(url, "abc123")
    assert ran.returncode == 1
    assert ran.stderr == f"srv-web: srv-web-9 is {status}: see its log in the Dashboard\n"
    assert len(render.asked) == 1


def test_roll_back_returns_to_what_was_live_before(api: tuple[Render, str]) -> None:
    render, url = api
    ran = run(url, "--roll-back")
    assert ran.returncode == 0, ran.stderr
    assert render.asked == [
        ("srv-web/rollback", {"deployId": "srv-web-0"}),
        ("srv-worker/rollback", {"deployId": "srv-worker-0"}),
    ]


def test_roll_back_without_an_earlier_deploy_changes_nothing(api: tuple[Render, str]) -> None:
    render, url = api
    render.deploys["srv-web"] = render.deploys["srv-web"][:2]
    ran = run(url, "--roll-back")
    assert ran.returncode == 1
    assert ran.stderr == "srv-web: there is no earlier deploy to return to\n"
    assert not render.asked


def test_a_moment_without_the_api_is_outlived(api: tuple[Render, str]) -> None:
    render, url = api
    render.broken = 5
    assert run(url, "abc123").returncode == 0
    render.broken = 6
    ran = run(url, "abc123")
    assert ran.returncode == 1
    assert ran.stderr == "Render's API: Render answered 503\n"


def test_a_wrong_key_is_told_and_not_shown(api: tuple[Render, str]) -> None:
    _, url = api
    ran = run(url, "abc123", RENDER_API_KEY="rnd_wrong")
    assert ran.returncode == 1
    assert "401" in ran.stderr
    assert "rnd_wrong" not in ran.stderr


@pytest.mark.parametrize("name", ["RENDER_API_KEY", "RENDER_SERVICES"])
def test_what_is_not_set_is_named(name: str) -> None:
    ran = run("http://127.0.0.1:9", "abc123", **{name: ""})
    assert ran.returncode == 1
    assert ran.stderr == f"{name} is not set\n"


def test_it_wants_to_know_what_to_do() -> None:
    assert run("http://127.0.0.1:9").returncode == 2
