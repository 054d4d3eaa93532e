"""A real API server of Kubernetes accepts every object, and refuses what is wrong."""

import copy
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.clusters import Cluster, api_server, kubeconfig
from tests.support.kubernetes import SCHEMAS, Object, kustomize
from tests.support.matrix import Matrix
from tests.support.overlays import PLACE, Overlay, Overlays
from tests.support.render import Renderer
from tests.support.template import Template

TEMPLATE = Template()
MATRIX = Matrix(TEMPLATE)
SERVICES = Overlays(MATRIX, Renderer(TEMPLATE))
PLATFORM = SERVICES.resolve({"preset": "platform"})
DEPLOYED = SERVICES.resolve({"preset": "platform", "project_name": "Deployed Service"})
"""In a namespace of its own: it is really there."""

OPERATORS = {
    "monitoring.coreos.com": ("v1", ("ServiceMonitor", "PodMonitor", "PrometheusRule")),
    "external-secrets.io": ("v1", ("ExternalSecret",)),
}
LENIENT = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server that knows the operators' kinds."""
    try:
        kustomize()
        server = api_server()
        with server as running:
            for group, (version, kinds) in OPERATORS.items():
                for kind in kinds:
                    file = SCHEMAS / group / f"{kind.lower()}_{version}.json"
                    schema = json.loads(file.read_text("utf-8")) if file.is_file() else LENIENT
                    running.define(group, version, kind, schema)
            yield running
    except LookupError as error:
        pytest.skip(str(error))


def with_namespace(cluster: Cluster, overlay: Overlay) -> list[Object]:
    """Make what others need to be there, and give the other objects."""
    before = overlay.manifests.of("Namespace") + overlay.manifests.of("ServiceAccount")
    for each in before:
        answer = cluster.create(each, dry=False)
        assert answer.status_code in (201, 409), answer.text
    return [each for each in overlay.manifests.objects if each not in before]


def pods(overlay: Overlay) -> Iterator[Object]:
    """Give the pods that the workloads of an overlay would make: only these are confined."""
    for workload in overlay.manifests.workloads:
        metadata = {
            "name": workload.owner["metadata"]["name"],
            "namespace": workload.owner["metadata"]["namespace"],
            "labels": dict(workload.labels),
        }
        spec = {**workload.spec, "volumes": list(workload.spec.get("volumes", ()))}
        for claim in workload.owner["spec"].get("volumeClaimTemplates", ()):
            spec["volumes"].append({"name": claim["metadata"]["name"], "emptyDir": {}})
        if "serviceAccountName" not in spec:
            spec["serviceAccountName"] = "service"
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def test_server_accepts_every_object(cluster: Cluster) -> None:
    refused: dict[str, str] = {}
    judged: set[str] = set()
    for answers in SERVICES.paired():
        for overlay in SERVICES.built(answers):
            for each in (*with_namespace(cluster, overlay), *pods(overlay)):
                text = json.dumps(each, sort_keys=True)
                if text not in judged:
                    judged.add(text)
                    if reason := cluster.refusal(each):
                        refused[f"{overlay.name} {each['kind']} {each['metadata']['name']}"] = (
                            reason
                        )
    assert len(judged) > 500
    assert not refused


def spec_of(name: str) -> Callable[[Object], Any]:
    """Find the first container, wherever a pod's description is."""

    def find(each: Object) -> Any:
        spec = each["spec"]
        spec = spec if each["kind"] == "Pod" else spec["template"]["spec"]
        return spec["containers"][0] if name == "container" else spec

    return find


def changing(place: Callable[[Object], Any], **values: Any) -> Callable[[Object], object]:
    """Make a change to a part of an object; a value of None takes something away."""

    def change(each: Object) -> None:
        part = place(each)
        part.update(values)
        for key, value in values.items():
            if value is None:
                del part[key]

    return change


container, pod = spec_of("container"), spec_of("pod")
PRIVILEGED = {"privileged": True}
FORBIDDEN = 'forbidden: violates PodSecurity "restricted'
FAULTS: dict[str, tuple[str, Callable[[Object], object], str]] = {
    "privileged": ("Pod", changing(container, securityContext=PRIVILEGED), FORBIDDEN),
    "root": ("Pod", changing(pod, securityContext={"runAsUser": 0}), FORBIDDEN),
    "host network": ("Pod", changing(pod, hostNetwork=True), FORBIDDEN),
    "privileged Deployment": (
        "Deployment",
        changing(container, securityContext=PRIVILEGED),
        "would violate PodSecurity",
    ),
    "selector": (
        "Deployment",
        changing(lambda it: it["spec"]["selector"], matchLabels={"a": "b"}),
        "selector",
    ),
    "quantity": (
        "Deployment",
        changing(container, resources={"limits": {"memory": "768 Mi"}}),
        "quantities",
    ),
    "request above the limit": (
        "Deployment",
        changing(container, resources={"limits": {"memory": "1Mi"}, "requests": {"memory": "2Mi"}}),
        "must be less than or equal to memory limit",
    ),
    "two handlers": (
        "Deployment",
        changing(lambda it: container(it)["livenessProbe"], exec={"command": ["true"]}),
        "may not specify more than 1",
    ),
    "undeclared volume": ("Deployment", changing(pod, volumes=None), "volumeMounts"),
    "unknown field": ("Deployment", changing(pod, restartPolice="Always"), "unknown field"),
    "restart policy": ("Job", changing(pod, restartPolicy="Always"), "restartPolicy"),
    "name": ("Service", changing(lambda it: it["metadata"], name="the_api"), "RFC 1123"),
    "both budgets": (
        "PodDisruptionBudget",
        changing(lambda it: it["spec"], minAvailable=1),
        "cannot be both set",
    ),
    "bounds": (
        "HorizontalPodAutoscaler",
        changing(lambda it: it["spec"], maxReplicas=1),
        "maxReplicas",
    ),
    "network": (
        "NetworkPolicy",
        changing(lambda it: it["spec"], egress=[{"to": [{"ipBlock": {"cidr": "10.0.0.0"}}]}]),
        "cidr",
    ),
    "path": (
        "Ingress",
        changing(lambda it: it["spec"]["rules"][0]["http"]["paths"][0], pathType="Begins"),
        "pathType",
    ),
    "operator's kind": (
        "ServiceMonitor",
        changing(lambda it: it["spec"], endpoints="all"),
        "endpoints",
    ),
    "removed version": (
        "HorizontalPodAutoscaler",
        changing(lambda it: it, apiVersion="autoscaling/v2beta2"),
        "could not find",
    ),
}


def test_server_refuses_faults(cluster: Cluster) -> None:
    [sound] = SERVICES.built(PLATFORM, "production")
    with_namespace(cluster, sound)
    candidates = [*pods(sound), *sound.manifests.objects]
    for name, (kind, change, reason) in FAULTS.items():
        each = copy.deepcopy(next(each for each in candidates if each["kind"] == kind))
        assert cluster.refusal(each) == "", name
        change(each)
        assert reason in cluster.refusal(each), name


class Controllers(threading.Thread):
    """Does what nodes and controllers would: ends the Job, and reports replicas.

    Args:
        cluster: whose part this is.
        namespace: where.
        outcome: what the migrations come to: Complete or Failed.
    """

    def __init__(self, cluster: Cluster, namespace: str, outcome: str) -> None:
        super().__init__()
        self.cluster = cluster
        self.namespace = namespace
        self.outcome = outcome
        self.images_while_migrating: list[set[str]] = []
        self.leaving = threading.Event()

    def run(self) -> None:
        """Look every tenth of a second."""
        while not self.leaving.wait(0.1):
            for job in self._listed("batch/v1", "jobs"):
                if not job.get("status", {}).get("conditions"):
                    self.images_while_migrating.append(self.images())
                    self._report(job, self._ended())
            for deployment in self._listed("apps/v1", "deployments"):
                generation = deployment["metadata"]["generation"]
                if deployment.get("status", {}).get("observedGeneration") != generation:
                    counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), 1)
                    ready = {**counts, "readyReplicas": 1, "observedGeneration": generation}
                    self._report(deployment, ready)

    def images(self) -> set[str]:
        """What the Deployments run."""
        return {
            deployment["spec"]["template"]["spec"]["containers"][0]["image"]
            for deployment in self._listed("apps/v1", "deployments")
        }

    def _ended(self) -> dict[str, Any]:
        time_now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        before = "SuccessCriteriaMet" if self.outcome == "Complete" else "FailureTarget"
        conditions = [
            {"type": each, "status": "True", "lastTransitionTime": time_now}
            for each in (before, self.outcome)
        ]
        ended = {"completionTime": time_now} if self.outcome == "Complete" else {}
        return {"startTime": time_now, "conditions": conditions, **ended}

    def _listed(self, version: str, plural: str) -> list[Object]:
        path = f"/apis/{version}/namespaces/{self.namespace}/{plural}"
        items: list[Object] = self.cluster.client.get(path).json().get("items", [])
        for each in items:
            each["path"] = f"{path}/{each['metadata']['name']}/status"
        return items

    def _report(self, each: Object, status: dict[str, Any]) -> None:
        answer = self.cluster.client.patch(
            each["path"],
            content=json.dumps({"status": status}),
            headers={"Content-Type": "application/merge-patch+json"},
        )
        # It may be gone meanwhile.
        assert answer.status_code in (200, 404), answer.text


@dataclass(frozen=True)
class Rendered:
    """A rendered service, and who deploys it.

    Attributes:
        cluster: where.
        directory: of the service.
        kubeconfig: of whoever deploys it.
    """

    cluster: Cluster
    directory: Path
    kubeconfig: Path

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the directory of the manifests."""
        return subprocess.run(
            command,
            cwd=self.directory / PLACE,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig), **variables},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def done(self, *command: str) -> str:
        """Give what a command prints that has to succeed."""
        ran = self.run(*command)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def deploy(
        self, *arguments: str, outcome: str = "Complete", **variables: str
    ) -> tuple[subprocess.CompletedProcess[str], Controllers]:
        """Deploy to production as the README says."""
        controllers = Controllers(self.cluster, DEPLOYED["project_slug"], outcome)
        controllers.start()
        try:
            ran = self.run("./deploy.sh", "production", *arguments, **variables)
        finally:
            controllers.leaving.set()
            controllers.join()
        return ran, controllers


@pytest.fixture
def administrator(cluster: Cluster, tmp_path: Path) -> Rendered:
    """A service, and who may do everything in the cluster."""
    if not shutil.which("kubectl"):
        pytest.skip("no kubectl")
    SERVICES.render(DEPLOYED, tmp_path)
    return Rendered(cluster, tmp_path, kubeconfig(cluster, tmp_path / "kubeconfig"))


@pytest.fixture
def pipeline(administrator: Rendered) -> Rendered:
    """The same service, and the account that an administrator has made for its pipeline."""
    administrator.done("kubectl", "apply", "--kustomize", "namespaces/production")
    access = administrator.directory / "pipeline"
    access.write_text(administrator.done("namespaces/kubeconfig.sh", "production"), "utf-8")
    return replace(administrator, kubeconfig=access)


def test_deploying_migrates_first(pipeline: Rendered) -> None:
    """By the pipeline's account, which may do nothing else."""
    overlay = f"registry.example.com/{DEPLOYED['project_slug']}:0.1.0"
    pages = overlay.replace(":", "/frontend:")
    tagged, pinned = "registry.example.com/team/service:2", f"ghcr.io/service@sha256:{'a' * 64}"

    first, controllers = pipeline.deploy()
    assert first.returncode == 0, first.stderr
    assert controllers.images_while_migrating == [set()]
    assert controllers.images() == {overlay, pages}

    failed, controllers = pipeline.deploy(tagged, outcome="Failed", FRONTEND_IMAGE="pages:2")
    assert failed.returncode == 1
    assert "The migrations failed" in failed.stderr
    assert "forbidden" not in failed.stderr
    assert controllers.images() == {overlay, pages}

    second, controllers = pipeline.deploy(tagged, FRONTEND_IMAGE="pages:2")
    assert second.returncode == 0, second.stderr
    assert controllers.images_while_migrating == [{overlay, pages}]
    assert controllers.images() == {tagged, "pages:2"}

    other, controllers = pipeline.deploy(pinned, "without-migrations", FRONTEND_IMAGE="pages:1")
    assert other.returncode == 0, other.stderr
    assert controllers.images_while_migrating == []
    assert controllers.images() == {pinned, "pages:1"}
    assert not list((pipeline.directory / PLACE / "overlays").glob("deploying-*"))

    deployments = pipeline.done("kubectl", "get", "deployments", "--output=name")
    assert {"deployment.apps/api", "deployment.apps/frontend"} <= set(deployments.split())
    # Nobody here makes the ReplicaSets that it would return to.
    returned = pipeline.run("kubectl", "rollout", "undo", "deployment/api")
    assert "no rollout history found" in returned.stderr


NOT_OF_A_PIPELINE: Mapping[str, tuple[str, ...]] = {
    "secrets of others": ("get", "secrets", "--namespace=default"),
    "all secrets of its own": ("get", "secrets"),
    "pods of others": ("get", "pods", "--namespace=kube-system"),
    "namespaces": ("create", "namespace", "another"),
    "the level of its own": (
        *("label", "--overwrite", "namespace", DEPLOYED["project_slug"]),
        "pod-security.kubernetes.io/enforce=privileged",
    ),
    "roles": ("create", "rolebinding", "all", "--clusterrole=admin", "--user=somebody"),
    "an end to the service": ("delete", "deployment", "api"),
    "tokens": ("create", "token", "service"),
}


def test_a_pipeline_may_do_nothing_else(pipeline: Rendered) -> None:
    for name, command in NOT_OF_A_PIPELINE.items():
        refused = pipeline.run("kubectl", *command)
        assert refused.returncode == 1, name
        assert "forbidden" in refused.stderr, (name, refused.stderr)


def test_a_namespace_that_is_not_there_is_told(administrator: Rendered, pipeline: Rendered) -> None:
    for account in (administrator, pipeline):
        refused = account.run("./deploy.sh", "staging")
        assert refused.returncode == 1
        assert refused.stderr == (
            f"There is no namespace {DEPLOYED['project_slug']}-staging, or not for this account: "
            "an administrator runs kubectl apply --kustomize ./namespaces/staging, once\n"
        )
        assert not refused.stdout
