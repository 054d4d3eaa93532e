"""`deploy/kubernetes/roll-back.sh` and the real kubectl, before a server that acts as a cluster."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.outside import Request, outside
from tests.support.template import ROOT

SCRIPT = ROOT / "template/deploy/kubernetes/roll-back.sh"
APPS = "/apis/apps/v1"
KINDS = {"deployments": "Deployment", "replicasets": "ReplicaSet"}
REVISION = "deployment.kubernetes.io/revision"
HISTORY = f"{REVISION}-history"
DISCOVERY: dict[str, Any] = {
    "/api": {"kind": "APIVersions", "versions": []},
    "/apis": {
        "kind": "APIGroupList",
        "groups": [{"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}]}],
    },
    APPS: {
        "kind": "APIResourceList",
        "groupVersion": "apps/v1",
        "resources": [
            {"name": name, "kind": kind, "namespaced": True, "verbs": ["get", "list", "patch"]}
            for name, kind in KINDS.items()
        ],
    },
}


class Apps:
    """Deployments, and the sets of replicas that their controller keeps of what they ran.

    Attributes:
        failing: those that cannot be changed.
    """

    def __init__(self, **ran: str) -> None:
        self.failing = set[str]()
        self._sets: dict[str, list[dict[str, Any]]] = {name: [] for name in ran}
        for name, images in ran.items():
            for image in images:
                self.run(name, image)

    def run(self, name: str, image: str) -> None:
        """Have a Deployment run an image, as it does with a new template."""
        sets = self._sets[name]
        revision = str(len(sets) + sum(len(each.get(HISTORY, "")) for each in sets) + 1)
        for each in sets:
            if each["image"] == image:
                each[HISTORY] = each.get(HISTORY, "") + each[REVISION]
                each[REVISION] = revision
                return
        sets.append({"image": image, REVISION: revision})

    @property
    def images(self) -> str:
        """What each runs."""
        return "".join(self._latest(name)["image"] for name in self._sets)

    def answer(self, request: Request) -> tuple[int, Any]:
        """Answer as the API of a cluster does."""
        if "watch=" in request.query:
            return 200, None  # nothing changes any more
        if request.path in DISCOVERY:
            return 200, DISCOVERY[request.path]
        kind, *name = request.path.removeprefix(f"{APPS}/namespaces/default/").split("/")
        if kind not in KINDS:
            return 404, {"kind": "Status", "status": "Failure", "code": 404}
        if request.method == "PATCH":
            return self._change(name[0], {each["path"]: each.get("value") for each in request.body})
        if name:
            return 200, self._deployment(name[0])
        every = {"deployments": self._deployment, "replicasets": self._replicas}[kind]
        found = [every(name) for name in self._sets if self._asked(name, request.query)]
        items = [item for each in found for item in (each if isinstance(each, list) else [each])]
        return 200, {"apiVersion": "apps/v1", "kind": f"{KINDS[kind]}List", "items": items}

    def _asked(self, name: str, query: str) -> bool:
        return "Selector" not in query or f"%3D{name}" in query

    def _latest(self, name: str) -> dict[str, Any]:
        return max(self._sets[name], key=lambda each: int(each[REVISION]))

    def _change(self, name: str, changes: dict[str, Any]) -> tuple[int, Any]:
        if name in self.failing:
            return 500, {"kind": "Status", "status": "Failure", "code": 500, "message": "away"}
        self.run(name, changes["/spec/template"]["spec"]["containers"][0]["image"])
        return 200, self._deployment(name)

    def _deployment(self, name: str) -> dict[str, Any]:
        counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        return {
            **_workload("Deployment", name, self._latest(name)),
            "status": {"observedGeneration": 1, **dict.fromkeys(counts, 1)},
        }

    def _replicas(self, name: str) -> list[dict[str, Any]]:
        return [_workload("ReplicaSet", name, each) for each in self._sets[name]]


def _workload(kind: str, name: str, ran: dict[str, Any]) -> dict[str, Any]:
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": name}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {
            "name": name if kind == "Deployment" else f"{name}-{ran['image']}",
            "namespace": "default",
            "uid": name if kind == "Deployment" else f"{name}-{ran['image']}",
            "generation": 1,
            "labels": {"app": name},
            "annotations": {
                key: value
                for key, value in ran.items()
                if key == REVISION or (key == HISTORY and kind == "ReplicaSet")
            },
            "ownerReferences": [] if kind == "Deployment" else [{**owner, "controller": True}],
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": name, "image": ran["image"]}]},
            },
        },
    }


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where kubectl keeps what it knows of a cluster."""
    if not shutil.which("kubectl"):
        pytest.skip("no kubectl")
    return tmp_path


def run(apps: Apps, home: Path) -> subprocess.CompletedProcess[str]:
    """Run the script as a pipeline does."""
    with outside(apps.answer) as address:
        access = {
            "clusters": [{"name": "here", "cluster": {"server": address}}],
            "contexts": [{"name": "here", "context": {"cluster": "here"}}],
            "current-context": "here",
        }
        (home / "kubeconfig").write_text(json.dumps(access), "utf-8")
        return subprocess.run(
            ["sh", str(SCRIPT)],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "KUBECONFIG": str(home / "kubeconfig"),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


def test_all_return_to_what_they_ran_before(home: Path) -> None:
    apps = Apps(api="ZAB", worker="ZAB")
    ran = run(apps, home)
    assert ran.returncode == 0, ran.stderr
    assert apps.images == "AA"
    assert ran.stdout.count("successfully rolled out") == 2


def test_a_return_that_ended_halfway_goes_on(home: Path) -> None:
    apps = Apps(api="AB", worker="AB")
    apps.failing = {"worker"}
    assert run(apps, home).returncode == 1
    assert apps.images == "AB"
    apps.failing = set()
    for _ in range(2):
        ran = run(apps, home)
        assert ran.returncode == 0, ran.stderr
        assert "deployment.apps/api was returned already, and stays as it is\n" in ran.stdout
        assert apps.images == "AA"
    for name in ("api", "worker"):
        apps.run(name, "C")
    assert run(apps, home).returncode == 0
    assert apps.images == "AA"


def test_what_is_new_keeps_no_other_back(home: Path) -> None:
    apps = Apps(api="B", worker="AB")
    ran = run(apps, home)
    assert ran.returncode == 1
    assert "no rollout history found" in ran.stderr
    assert apps.images == "BA"
