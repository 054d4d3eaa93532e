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
    """Render's API for two services, each with four deploys so far.

    Attributes:
        course: what a new deploy becomes, look by look.
        failing: services whose new deploys fail instead.
        triggers: what Render says has started a deploy.
        asked: the requests that change something.
    """

    def __init__(self) -> None:
        self.course = ["build_in_progress", "pre_deploy_in_progress", "live"]
        self.failing = set[str]()
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.triggers = {"deploys": "api", "rollback": "rollback"}
        self.queued = False
        self.broken = 0
        self.deploys: dict[str, list[dict[str, Any]]] = {
            service: [
                {"id": f"{service}-3", "status": "live", "commit": {"id": "new"}},
                {"id": f"{service}-2", "status": "deactivated", "commit": {"id": "new"}},
                {"id": f"{service}-1", "status": "build_failed", "commit": {"id": "bad"}},
                {"id": f"{service}-0", "status": "deactivated", "commit": {"id": "old"}},
            ]
            for service in ("srv-web", "srv-worker")
        }
        self._looks: dict[str, int] = {}

    def history(self, service: str, *commits: str) -> None:
        """Let a service have been live on these commits, the newest first, which it is on now."""
        self.deploys[service] = [
            {
                "id": f"{service}-{len(commits) - 1 - place}",
                "status": "deactivated" if place else "live",
                "commit": {"id": commit},
            }
            for place, commit in enumerate(commits)
        ]

    @property
    def live(self) -> list[str]:
        """On which commit each service is live."""
        return [
            each["commit"]["id"]
            for deploys in self.deploys.values()
            for each in deploys
            if each["status"] == "live"
        ]

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
        deploys = self.deploys[service]
        commits = {each["id"]: each["commit"] for each in deploys}
        started = {
            "id": f"{service}-{len(deploys) + 5}",
            "status": "created",
            "commit": commits.get(body.get("deployId", ""), {"id": body.get("commitId")}),
            "trigger": self.triggers[what],
        }
        deploys.insert(0, started)
        return (202, None) if self.queued else (201, started)

    def _look(self, service: str, deploy: str | None) -> tuple[int, Any]:
        if deploy is None:
            return 200, [{"deploy": each, "cursor": "x"} for each in self.deploys[service]]
        if self.broken:
            self.broken -= 1
            return 503, None
        number = self._looks.get(deploy, 0)
        self._looks[deploy] = number + 1
        status = self.course[min(number, len(self.course) - 1)]
        if status == "live":
            status = "update_failed" if service in self.failing else self._goes_live(service)
        self.deploys[service][0]["status"] = status
        return 200, {"id": deploy, "status": status}

    def _goes_live(self, service: str) -> str:
        for each in self.deploys[service]:
            each["status"] = "deactivated" if each["status"] == "live" else each["status"]
        return "live"


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
    ran = run(url, "--roll-back", "")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("Returning to old\n")
    assert render.asked == [
        ("srv-web/rollback", {"deployId": "srv-web-0"}),
        ("srv-worker/rollback", {"deployId": "srv-worker-0"}),
    ]


def test_roll_back_without_an_earlier_deploy_changes_nothing(api: tuple[Render, str]) -> None:
    render, url = api
    render.deploys["srv-worker"] = render.deploys["srv-worker"][:2]
    ran = run(url, "--roll-back")
    assert ran.returncode == 1
    assert ran.stderr == "There is no earlier commit that was live on every service: name one\n"
    assert not render.asked


@pytest.mark.parametrize("told", [True, False])
def test_roll_back_that_ended_halfway_goes_on_to_the_same_commit(
    told: bool, api: tuple[Render, str]
) -> None:
    render, url = api
    render.triggers["rollback"] = "rollback" if told else "api"
    for service in render.deploys:
        render.history(service, "B", "A", "Z")
    render.failing = {"srv-worker"}
    assert run(url, "--roll-back").returncode == 1
    assert render.live == ["A", "B"]
    render.failing = set()
    ran = run(url, "--roll-back")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("Returning to A\nsrv-web: is live on it already\nsrv-worker: ")
    assert render.live == ["A", "A"]
    # Where nobody can know that it is done it goes on, but never to what was left for this.
    assert run(url, "--roll-back").returncode == 0
    assert render.live == (["A", "A"] if told else ["Z", "Z"])


def test_roll_back_leaves_a_service_that_the_bad_deploy_never_reached(
    api: tuple[Render, str],
) -> None:
    render, url = api
    render.history("srv-web", "B", "A", "Z")
    render.history("srv-worker", "A", "Z")
    ran = run(url, "--roll-back")
    assert ran.returncode == 0, ran.stderr
    assert render.live == ["A", "A"]
    assert render.asked == [("srv-web/rollback", {"deployId": "srv-web-1"})]


@pytest.mark.parametrize("deployed", ["B", "C"], ids=["again", "mended"])
def test_what_was_deployed_since_is_returned_from(deployed: str, api: tuple[Render, str]) -> None:
    render, url = api
    for service in render.deploys:
        render.history(service, "B", "A", "Z")
    # The fourth is as when settings change: on the same commit, by no roll-back.
    for arguments in (("--roll-back",), (deployed,), ("--roll-back",), ("A",), ("--roll-back",)):
        assert run(url, *arguments).returncode == 0
        assert render.live == [deployed if arguments == (deployed,) else "A"] * 2


def test_roll_back_goes_to_the_commit_that_is_named(api: tuple[Render, str]) -> None:
    render, url = api
    render.history("srv-web", "B", "A")
    render.history("srv-worker", "B", "A", "Z")
    ran = run(url, "--roll-back", "Z")
    assert ran.returncode == 1
    assert ran.stderr == "srv-web: never live on Z, and left alone\n"
    assert render.live == ["B", "Z"]


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
