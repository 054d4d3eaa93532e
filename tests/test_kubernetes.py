"""The Kubernetes manifests: built by kustomize, fit together, and accepted by every validator."""

import copy
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import references
from tests.support.effects import missing
from tests.support.kubernetes import (
    SCHEMAS,
    Object,
    checkov_program,
    custom_schema,
    is_custom,
    kustomize,
    schema_faults,
)
from tests.support.matrix import Matrix
from tests.support.overlays import (
    MASTER_KEY,
    OVERLAYS,
    PLACE,
    Overlay,
    Overlays,
    supply_secrets,
)
from tests.support.references import Manifests, Rule, faults
from tests.support.render import Renderer
from tests.support.runs import python
from tests.support.template import Answers, Template
from tools.prometheus_rules import written

TEMPLATE = Template()
MATRIX = Matrix(TEMPLATE)
RENDERER = Renderer(TEMPLATE)
SERVICES = Overlays(MATRIX, RENDERER)

HASH = re.compile(r"-[a-z0-9]{10}(?=\")")
"""What kustomize puts behind the names of settings and secrets."""

TOOLS = Path(sys.executable).parent
"""Where check-jsonschema is: beside the interpreter that runs this."""

RICH: dict[str, Answers] = {
    "postgresql": {
        "auth": "local",
        "encryption": True,
        "external_api": "bybit",
        "frontend": "nextjs",
        "gateway": True,
        "tenancy": True,
        "tracing": True,
        "vault": True,
        "worker": "taskiq",
    },
    "sqlite": {"database": "sqlite", "vault": True, "worker": "celery", "encryption": True},
    "mysql": {
        "auth": "oidc",
        "database": "mysql",
        "databases": "dual",
        "encryption": True,
        "frontend": "nextjs",
        "worker": "arq",
    },
}
"""Services that together have every component."""


@pytest.fixture(autouse=True)
def _needs_kustomize() -> None:
    try:
        kustomize()
    except LookupError as error:
        pytest.skip(str(error))


def everything_wrong(overlay: Overlay) -> list[str]:
    """Give the faults of an overlay, and the effects that it does not have."""
    return [*faults(overlay.manifests), *missing(overlay)]


@cache
def rich(name: str, overlay: str) -> Overlay:
    """Give one overlay of a rich service; nobody may change it."""
    [built] = SERVICES.built(SERVICES.resolve(RICH[name]), overlay)
    return built


def changed(overlay: Overlay, change: Callable[[Manifests], object]) -> Manifests:
    """Give a copy of what an overlay comes to, with one change."""
    documented = overlay.manifests.documented
    manifests = Manifests(copy.deepcopy(overlay.manifests.objects), documented)
    change(manifests)
    return Manifests(manifests.objects, documented)


@pytest.mark.parametrize("database", TEMPLATE.questions["database"].choices)
def test_components_fit_together(database: str) -> None:
    combinations = SERVICES.crossed(database)
    assert len(combinations) > 8
    wrong = {}
    for number, answers in enumerate(combinations):
        for overlay in SERVICES.built(answers, "development", "production"):
            if found := everything_wrong(overlay):
                wrong[number, overlay.name] = found
    assert not wrong


@pytest.mark.parametrize("auth", TEMPLATE.questions["auth"].choices)
@pytest.mark.parametrize(
    "given", [{"preset": "platform"}, {"database": "sqlite", "vault": True}], ids=["usual", "alone"]
)
def test_frontend_fits_whoever_signs_in(auth: str, given: Answers) -> None:
    answers = SERVICES.resolve({**given, "auth": auth, "frontend": "nextjs"})
    for overlay in SERVICES.built(answers):
        assert not everything_wrong(overlay), overlay.name
        assert not list(schema_faults(overlay.manifests.objects))


def test_every_pair_of_answers_fits() -> None:
    wrong: dict[Any, list[str]] = {}
    distinct: dict[str, Object] = {}
    for number, answers in enumerate(SERVICES.paired()):
        for overlay in SERVICES.built(answers):
            if found := everything_wrong(overlay):
                wrong[number, overlay.name] = found
            for each in overlay.manifests.objects:
                text = json.dumps(each, sort_keys=True).replace(answers["project_slug"], "")
                distinct.setdefault(HASH.sub("", text), each)
    assert not wrong
    assert not list(schema_faults(distinct.values()))


def pod(manifests: Manifests, kind: str = "Deployment", name: str = "api") -> Any:
    """Give the pod that something makes."""
    return _found(manifests, kind, name)["spec"]["template"]["spec"]


def container(manifests: Manifests, name: str = "api") -> Any:
    """Give the container of a Deployment."""
    return pod(manifests, name=name)["containers"][0]


def the(manifests: Manifests, kind: str) -> Any:
    """Give the first object of a kind."""
    return manifests.of(kind)[0]


def _found(manifests: Manifests, kind: str, name: str) -> Object:
    found = manifests.find(kind, name)
    assert found is not None, f"no {kind} {name}"
    return found


def settings_of(manifests: Manifests, of: str = "settings") -> Any:
    """Give the settings of the service, or of the frontend."""
    maps = (each for each in manifests.of("ConfigMap") if f"{of}-" in each["metadata"]["name"])
    return next(each for each in maps if each["metadata"]["name"].startswith(of))


def _put(place: Any, key: Any, value: Any) -> None:
    place[key] = value


def _without(manifests: Manifests, kind: str, name: str) -> None:
    manifests.objects.remove(_found(manifests, kind, name))


LABEL = "app.kubernetes.io/component"
OTHERS = {"matchLabels": {LABEL: "others"}}
Break = tuple[Rule, str, Callable[[Manifests], object]]

BREAKS: tuple[Break, ...] = (
    (
        references.workloads_select_their_own,
        "postgresql",
        lambda it: _put(_found(it, "Deployment", "api")["spec"], "selector", OTHERS),
    ),
    (
        references.workloads_select_their_own,
        "postgresql",
        lambda it: _put(pod(it)["topologySpreadConstraints"][0], "labelSelector", OTHERS),
    ),
    (
        references.neighbours_exist,
        "sqlite",
        lambda it: _put(
            pod(it, name="worker")["affinity"]["podAffinity"][
                "requiredDuringSchedulingIgnoredDuringExecution"
            ][0],
            "labelSelector",
            OTHERS,
        ),
    ),
    (
        references.selectors_find_pods,
        "postgresql",
        lambda it: _put(the(it, "Service")["spec"], "selector", {LABEL: "others"}),
    ),
    (
        references.selectors_find_pods,
        "postgresql",
        lambda it: _put(the(it, "PodDisruptionBudget")["spec"], "selector", OTHERS),
    ),
    (
        references.selectors_find_pods,
        "postgresql",
        lambda it: _put(_found(it, "NetworkPolicy", "to-database")["spec"], "podSelector", OTHERS),
    ),
    (
        references.probes_ask_where_somebody_listens,
        "postgresql",
        lambda it: _put(container(it)["livenessProbe"]["httpGet"], "port", "web"),
    ),
    (
        references.services_lead_somewhere,
        "postgresql",
        lambda it: _put(the(it, "Service")["spec"]["ports"][0], "targetPort", "web"),
    ),
    (
        references.ingresses_lead_somewhere,
        "postgresql",
        lambda it: _put(the(it, "Service")["spec"]["ports"][0], "name", "web"),
    ),
    (
        references.policies_open_real_ports,
        "postgresql",
        lambda it: _put(container(it)["ports"][0], "name", "web"),
    ),
    (
        references.monitors_find_services,
        "postgresql",
        lambda it: _put(the(it, "ServiceMonitor")["spec"], "selector", OTHERS),
    ),
    (
        references.monitors_find_services,
        "postgresql",
        lambda it: _put(the(it, "ServiceMonitor")["spec"]["endpoints"][0], "port", "web"),
    ),
    (
        references.monitors_find_pods,
        "postgresql",
        lambda it: _put(the(it, "PodMonitor")["spec"], "selector", OTHERS),
    ),
    (
        references.monitors_find_pods,
        "postgresql",
        lambda it: container(it, "worker").pop("ports"),
    ),
    *(
        (references.references_exist, "mysql", lambda it, each=each: it.objects.remove(each(it)))
        for each in (
            settings_of,
            lambda it: settings_of(it, "frontend-settings"),
            lambda it: next(
                secret
                for secret in it.of("Secret")
                if secret["metadata"]["name"].startswith("secrets-")
            ),
            lambda it: next(
                secret
                for secret in it.of("Secret")
                if secret["metadata"]["name"].startswith("master-key-")
            ),
            lambda it: the(it, "ServiceAccount"),
        )
    ),
    (
        references.references_exist,
        "sqlite",
        lambda it: _without(it, "PersistentVolumeClaim", "data"),
    ),
    (
        references.references_exist,
        "postgresql",
        lambda it: _put(the(it, "Ingress")["spec"]["tls"][0], "secretName", "other"),
    ),
    (
        references.references_exist,
        "postgresql",
        lambda it: _put(the(it, "RoleBinding")["subjects"][0], "namespace", "default"),
    ),
    (
        references.what_is_made_is_used,
        "postgresql",
        lambda it: _put(settings_of(it)["metadata"], "name", "settings-of-others"),
    ),
    (
        references.targets_exist,
        "postgresql",
        lambda it: _put(
            the(it, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"], "name", "web"
        ),
    ),
    (
        references.targets_exist,
        "postgresql",
        lambda it: _put(_found(it, "Deployment", "api")["spec"], "replicas", 2),
    ),
    (
        references.targets_exist,
        "mysql-development",
        lambda it: _put(the(it, "StatefulSet")["spec"], "serviceName", "other"),
    ),
    (
        references.volumes_are_declared,
        "postgresql",
        lambda it: pod(it)["volumes"].pop(),
    ),
    (
        references.names_are_unique,
        "postgresql",
        lambda it: it.objects.append(the(it, "Service")),
    ),
    (
        references.names_are_unique,
        "postgresql",
        lambda it: _put(the(it, "Service")["metadata"], "namespace", "default"),
    ),
    (
        references.images_are_chosen,
        "postgresql",
        lambda it: _put(container(it), "image", "service"),
    ),
    (
        references.images_are_chosen,
        "postgresql",
        lambda it: _put(container(it, "frontend"), "image", "frontend:1"),
    ),
    (
        references.pods_are_confined,
        "postgresql",
        lambda it: the(it, "Namespace")["metadata"].pop("labels"),
    ),
    (
        references.pods_are_confined,
        "postgresql",
        lambda it: pod(it).pop("enableServiceLinks"),
    ),
    (
        references.pods_are_confined,
        "postgresql",
        lambda it: container(it)["securityContext"].pop("readOnlyRootFilesystem"),
    ),
    (
        references.pods_are_confined,
        "postgresql",
        lambda it: container(it)["resources"].pop("limits"),
    ),
    (
        references.pods_are_confined,
        "postgresql",
        lambda it: _without(it, "NetworkPolicy", "default-deny"),
    ),
    (
        references.pipeline_may_deploy,
        "postgresql",
        lambda it: the(it, "Role")["rules"].pop(2),
    ),
    (
        references.leaving_has_time,
        "postgresql",
        lambda it: _put(pod(it), "terminationGracePeriodSeconds", 30),
    ),
    (
        references.leaving_has_time,
        "postgresql",
        lambda it: container(it).pop("lifecycle"),
    ),
    (
        references.leaving_has_time,
        "postgresql",
        lambda it: container(it, "frontend").pop("lifecycle"),
    ),
    (
        references.probes_ask_the_right_paths,
        "postgresql",
        lambda it: _put(container(it)["livenessProbe"]["httpGet"], "path", "/ready"),
    ),
    (
        references.probes_ask_the_right_paths,
        "postgresql",
        lambda it: container(it, "worker").pop("livenessProbe"),
    ),
    (
        references.probes_ask_the_right_paths,
        "postgresql",
        lambda it: _put(container(it, "frontend")["readinessProbe"]["httpGet"], "path", "/"),
    ),
    (
        references.roll_out_keeps_serving,
        "postgresql",
        lambda it: _put(
            _found(it, "Deployment", "api")["spec"]["strategy"]["rollingUpdate"],
            "maxUnavailable",
            1,
        ),
    ),
    (
        references.ingress_shows_the_public_only,
        "postgresql",
        lambda it: _put(the(it, "Ingress")["spec"]["rules"][0]["http"]["paths"][0], "path", "/"),
    ),
    (
        references.ingress_shows_the_public_only,
        "postgresql",
        lambda it: _put(the(it, "Ingress")["spec"]["rules"][0], "host", "other.example.com"),
    ),
    (
        references.ingress_shows_the_public_only,
        "postgresql",
        lambda it: _put(settings_of(it)["data"], "ALLOWED_HOSTS", "other.example.com"),
    ),
    (
        references.environment_is_read,
        "postgresql",
        lambda it: _put(settings_of(it)["data"], "DATABSE_URL", "x"),
    ),
    (
        references.environment_is_read,
        "postgresql",
        lambda it: container(it, "frontend").update(envFrom=container(it)["envFrom"]),
    ),
    (
        references.frontend_reaches_the_api,
        "postgresql",
        lambda it: _put(settings_of(it, "frontend-settings")["data"], "API_URL", "http://web"),
    ),
    (
        references.frontend_reaches_the_api,
        "postgresql",
        lambda it: _put(settings_of(it, "frontend-settings")["data"], "API_URL", "http://api:1"),
    ),
    (
        references.frontend_reaches_the_api,
        "postgresql",
        lambda it: _put(settings_of(it)["data"], "ALLOWED_HOSTS", "api.example.com"),
    ),
    *(
        (
            references.frontend_reaches_the_api,
            "postgresql",
            lambda it, name=name: _without(it, "NetworkPolicy", name),
        )
        for name in ("from-frontend", "to-api")
    ),
    (
        references.frontend_reaches_the_api,
        "postgresql",
        lambda it: _found(it, "NetworkPolicy", "to-api")["spec"].update(
            podSelector={}, egress=[{"to": [{"podSelector": {}}]}]
        ),
    ),
    (
        references.databases_are_given,
        "mysql",
        lambda it: [secret["data"].pop("DATABASE_URL_USER", None) for secret in it.of("Secret")],
    ),
    (
        references.databases_are_given,
        "postgresql",
        lambda it: _put(settings_of(it)["data"], "MIGRATION_DATABASE_URL", "x"),
    ),
    (
        references.egress_is_allowed,
        "mysql",
        lambda it: _without(it, "NetworkPolicy", "to-database"),
    ),
    (
        references.egress_is_allowed,
        "postgresql",
        lambda it: _without(it, "NetworkPolicy", "to-vault"),
    ),
    (
        references.egress_is_allowed,
        "mysql",
        lambda it: _without(it, "NetworkPolicy", "to-provider"),
    ),
)


@pytest.mark.parametrize(
    ("rule", "sample", "change"),
    BREAKS,
    ids=[f"{rule.__name__}-{number}" for number, (rule, _, _) in enumerate(BREAKS)],
)
def test_rule_finds_a_fault(rule: Rule, sample: str, change: Callable[[Manifests], object]) -> None:
    name, _, overlay = sample.partition("-")
    sound = rich(name, overlay or "production")
    assert not list(rule(sound.manifests))
    assert list(rule(changed(sound, change)))


def test_every_rule_is_tried() -> None:
    assert {rule for rule, _, _ in BREAKS} == set(references.RULES)


@pytest.mark.parametrize("name", RICH)
def test_nothing_in_a_kustomization_is_without_effect(name: str, tmp_path: Path) -> None:
    """A patch that hits nothing is no error for kustomize, so each entry is left out once."""
    answers = SERVICES.resolve(RICH[name])
    directory = SERVICES.render(answers, tmp_path)
    unseen, tried = [], 0
    for file in sorted((directory / PLACE).rglob("kustomization.yaml")):
        if "external-secrets" in file.parts:
            continue
        text = file.read_text("utf-8")
        document = yaml.safe_load(text)
        read_by = [overlay for overlay in OVERLAYS if overlay in file.parts] or OVERLAYS
        for field in ("patches", "images", "components", "configMapGenerator", "secretGenerator"):
            for number, entry in enumerate(document.get(field) or ()):
                rest = [each for each in document[field] if each is not entry]
                file.write_text(yaml.safe_dump({**document, field: rest}), "utf-8")
                tried += 1
                if not any(_is_refused(directory, overlay, answers) for overlay in read_by):
                    unseen.append(f"{file.relative_to(directory)}: {field}[{number}]")
        file.write_text(text, "utf-8")
    assert tried > 20
    assert not unseen


def _is_refused(directory: Path, name: str, answers: Answers) -> bool:
    try:
        return bool(everything_wrong(SERVICES.overlay(directory, name, answers)))
    except ValueError:
        return True


def with_external_secrets(answers: Answers, directory: Path) -> Overlay:
    """Build production as deploy/kubernetes/README.md says it for the External Secrets operator."""
    SERVICES.render(answers, directory)
    file = directory / PLACE / "overlays/production/kustomization.yaml"
    document = yaml.safe_load(file.read_text("utf-8"))
    del document["secretGenerator"]
    document["components"].append("../../components/external-secrets")
    file.write_text(yaml.safe_dump(document), "utf-8")
    namespace = directory / PLACE / "namespaces/production/kustomization.yaml"
    with namespace.open("a", encoding="utf-8") as text:
        text.write("\ncomponents:\n  - ../external-secrets\n")
    return SERVICES.overlay(directory, "production", answers)


@pytest.mark.parametrize("given", [RICH["mysql"], {"tenancy": True, "auth": "oidc"}])
def test_external_secrets_take_the_place_of_files(given: Answers, tmp_path: Path) -> None:
    overlay = with_external_secrets(SERVICES.resolve(given), tmp_path)
    assert not overlay.manifests.of("Secret")
    assert overlay.manifests.of("ExternalSecret")
    assert not faults(overlay.manifests)


BROKEN: dict[str, Callable[[Manifests], object]] = {
    "unknown kind": lambda it: _put(the(it, "Service"), "kind", "Servce"),
    "removed version": lambda it: _put(
        the(it, "HorizontalPodAutoscaler"), "apiVersion", "autoscaling/v2beta2"
    ),
    "unknown field": lambda it: _put(container(it), "volumeMount", []),
    "wrong type": lambda it: _put(pod(it), "terminationGracePeriodSeconds", "45"),
    "missing field": lambda it: _found(it, "Deployment", "api")["spec"].pop("selector"),
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_schemas_reject_a_fault(change: Callable[[Manifests], object]) -> None:
    sound = rich("postgresql", "production")
    assert not list(schema_faults(sound.manifests.objects))
    assert list(schema_faults(changed(sound, change).objects))


def test_operators_accept_their_objects(tmp_path: Path) -> None:
    if not SCHEMAS.is_dir():
        pytest.skip(f"no schemas of operators at {SCHEMAS}")
    overlays = [rich("postgresql", "production")]
    overlays.append(with_external_secrets(SERVICES.resolve(RICH["mysql"]), tmp_path / "service"))
    custom = [each for it in overlays for each in it.manifests.objects if is_custom(each)]
    kinds = {each["kind"] for each in custom}
    assert kinds == {"ServiceMonitor", "PodMonitor", "PrometheusRule", "ExternalSecret"}
    for kind in sorted(kinds):
        objects = [each for each in custom if each["kind"] == kind]
        schema = tmp_path / f"{kind}.json"
        # A regular expression as Go writes it.
        text = custom_schema(objects[0]).read_text("utf-8").replace("^(?i)", "(?i)^")
        schema.write_text(text, "utf-8")
        judged = judge(schema, objects, tmp_path)
        assert judged.returncode == 0, judged.stdout
        assert judge(schema, [{**objects[0], "spec": "text"}], tmp_path).returncode == 1


def judge(schema: Path, objects: list[Object], directory: Path) -> subprocess.CompletedProcess[str]:
    """Let check-jsonschema compare objects with their schema."""
    files = []
    for number, each in enumerate(objects):
        files.append(directory / f"{number}.yaml")
        files[-1].write_text(yaml.safe_dump(each), "utf-8")
    options = ["--regex-variant", "python", "--schemafile", str(schema)]
    return subprocess.run(
        [str(TOOLS / "check-jsonschema"), *options, *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("postgresql", ("migration.env", "master-key", "secrets.env")),
        ("mysql", ("frontend-secrets.env", "master-key", "secrets.env")),
    ],
)
def test_secrets_are_never_committed(name: str, names: tuple[str, ...], tmp_path: Path) -> None:
    answers = SERVICES.resolve(RICH[name])
    RENDERER.write(RENDERER.tree(answers), tmp_path)
    shared = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    supply_secrets(tmp_path)
    place = Path(PLACE, "overlays/production")
    secret = {place / each for each in names}
    (tmp_path / place / "secrets.env").touch()
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    listed = subprocess.run(
        ["git", "-c", "core.excludesFile=", "ls-files", "--others", "--exclude-standard"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    kept = set(map(Path, listed.stdout.splitlines()))
    assert all((tmp_path / path).is_file() for path in secret)
    assert not kept & secret
    assert {path for path in shared if path.parts[0] == "deploy"} <= kept


def test_pods_reach_no_more_than_they_need() -> None:
    manifests = rich("postgresql", "production").manifests
    for policy in manifests.of("NetworkPolicy"):
        for rule in policy["spec"].get("egress", ()):
            assert rule["ports"], policy["metadata"]["name"]
            for peer in rule["to"]:
                assert peer.get("namespaceSelector") != {}, policy["metadata"]["name"]
                if peer.get("ipBlock", {}).get("cidr") == "::/0":
                    # A gateway of the network turns these into addresses of IPv4, private ones too.
                    assert "64:ff9b::/96" in peer["ipBlock"]["except"]
    [rule] = _found(manifests, "NetworkPolicy", "to-upstreams")["spec"]["egress"]
    label = {"gateway-upstream": "true"}
    assert rule["to"] == [{"namespaceSelector": {"matchLabels": label}}]


def test_what_cannot_be_deployed_is_told_in_one_line(tmp_path: Path) -> None:
    """Before anything is asked of a cluster: there is none here."""
    files = RENDERER.tree(SERVICES.resolve(RICH["mysql"]))
    place = RENDERER.write(files, tmp_path) / PLACE
    example = (place / "secrets.env.example").read_text()
    assert "\nSECRET_KEY=\n" in example
    (place / "overlays/staging/secrets.env").write_text(example)
    for arguments, said in REFUSED.items():
        variables = [each for each in arguments if "=" in each]
        rest = [each for each in arguments if each not in variables]
        command = ["env", *variables, "sh", str(place / "deploy.sh"), *rest]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ran.returncode == 1, arguments
        assert re.fullmatch(f"{said}\n", ran.stderr), arguments
    assert not list((place / "overlays").glob("deploying-*"))


def untagged(image: str) -> str:
    return re.escape(f"{image} has neither tag nor digest: name one, as in {image}:42")


REFUSED = {
    ("staging",): r"SECRET_KEY is empty in \S+/staging/secrets\.env: .*",
    ("stagging",): r"There is no overlay stagging in \S+/overlays",
    ("production", "service"): untagged("service"),
    ("production", "registry:5000/service"): untagged("registry:5000/service"),
    ("production", "registry/service:"): untagged("registry/service:"),
    ("production", "service:1", "without"): "without: with-migrations or without-migrations",
    ("FRONTEND_IMAGE=registry:5000/web", "production"): untagged("registry:5000/web"),
    ("FRONTEND_IMAGE=web:", "production", "service:1"): untagged("web:"),
}
"""How deploy.sh is called, after what it finds in the environment, and what it says."""

KUBECTL = """\
#!/bin/sh
case "$1 $2" in
  "kustomize "*) exec {kustomize} "$2" ;;
  "get namespace") echo namespace/service ;;
  "get job") echo Complete ;;
  "apply --filename") cp "$3" "{made}/$(ls {made} | wc -l).yaml"; echo "apply $5" >> {calls} ;;
  *) echo "$*" >> {calls} ;;
esac
"""
"""Stands in for kubectl, and keeps what is applied."""

CHOSEN = "registry.example.com/my-service"
"""Where the images of production are, as its overlay says it."""

DIGEST = f"sha256:{'a' * 64}"
NAMED: dict[str, tuple[tuple[str, ...], str, str]] = {
    "neither": ((), f"{CHOSEN}:0.1.0", f"{CHOSEN}/frontend:0.1.0"),
    "both": (
        (f"FRONTEND_IMAGE=r:5000/web@{DIGEST}", f"r:5000/api@{DIGEST}"),
        f"r:5000/api@{DIGEST}",
        f"r:5000/web@{DIGEST}",
    ),
    "both, going back": (
        ("FRONTEND_IMAGE=web:1", "service:1", "without-migrations"),
        "service:1",
        "web:1",
    ),
}
"""Which images are named, and which then run: the API's and the frontend's."""


@dataclass(frozen=True)
class Stage:
    """A rendered service, and a stand-in for kubectl.

    Attributes:
        place: of the manifests.
        bin: where the stand-in is.
        calls: what it was asked for.
        made: what was applied, in files.
    """

    place: Path
    bin: Path
    calls: Path
    made: Path

    def deploy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Deploy production; what has `=` in it is a variable."""
        variables = [each for each in arguments if "=" in each]
        rest = [each for each in arguments if each not in variables]
        return subprocess.run(
            ["env", *variables, "sh", str(self.place / "deploy.sh"), "production", *rest],
            env={"PATH": f"{self.bin}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def applied(self) -> list[Manifests]:
        """Give what was applied, each time."""
        files = sorted(self.made.iterdir())
        return [
            Manifests(filter(None, yaml.safe_load_all(file.read_text("utf-8"))), {})
            for file in files
        ]


def staged(given: Answers, directory: Path) -> Stage:
    """Render a service, with secrets, and put a stand-in for kubectl beside it."""
    place = RENDERER.write(RENDERER.tree(SERVICES.resolve(given)), directory) / PLACE
    supply_secrets(directory)
    stage = Stage(place, directory / "bin", directory / "calls", directory / "made")
    stage.made.mkdir()
    stage.bin.mkdir()
    kubectl = stage.bin / "kubectl"
    text = KUBECTL.format(kustomize=" ".join(kustomize()), calls=stage.calls, made=stage.made)
    kubectl.write_text(text, "utf-8")
    kubectl.chmod(0o755)
    return stage


@pytest.mark.parametrize("name", NAMED)
def test_each_image_takes_its_own_place(name: str, tmp_path: Path) -> None:
    arguments, api, frontend = NAMED[name]
    stage = staged({"preset": "platform"}, tmp_path)
    ran = stage.deploy(*arguments)
    assert ran.returncode == 0, ran.stderr
    for manifests in stage.applied():
        of_the_api = {container(manifests, each)["image"] for each in ("api", "worker")}
        of_the_api.add(pod(manifests, "Job", "migrate")["containers"][0]["image"])
        assert of_the_api == {api}
        assert container(manifests, "frontend")["image"] == frontend
    calls = stage.calls.read_text("utf-8").splitlines()
    migrates = [call for call in calls if call.endswith("=migrate")]
    assert bool(migrates) == ("without-migrations" not in arguments)
    *_, rolled_out, waited_for = calls
    assert rolled_out == "apply app.kubernetes.io/component in (api, worker, frontend)"
    assert waited_for.startswith("rollout status deployment ")
    assert "(api, worker, frontend)" in waited_for
    assert "notin (api, worker, frontend, migrate)" in calls[0]


def test_images_stand_in_any_order(tmp_path: Path) -> None:
    """As `kustomize edit set image` writes them, for example."""
    stage = staged({"preset": "platform"}, tmp_path)
    file = stage.place / "overlays/production/kustomization.yaml"
    document = yaml.safe_load(file.read_text("utf-8"))
    document["images"] = [
        {"digest": DIGEST, "newName": "team/web", "name": "frontend"},
        {"newTag": "1", "newName": "team/api", "name": "service"},
    ]
    file.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    both = ("FRONTEND_IMAGE=web:2", "service:2")
    assert stage.deploy(*both).returncode == 0
    [*_, manifests] = stage.applied()
    assert container(manifests)["image"] == "service:2"
    assert container(manifests, "frontend")["image"] == "web:2"

    without_name = [{"name": "service", "newTag": "1"}, document["images"][0]]
    file.write_text(yaml.safe_dump({**document, "images": without_name}, sort_keys=False), "utf-8")
    ran = stage.deploy(*both)
    assert ran.returncode == 1
    assert "has no image service" in ran.stderr

    document["images"][0]["newName"] = "team/api"
    file.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    ran = stage.deploy(*both)
    assert ran.returncode == 1
    assert "service and frontend one newName" in ran.stderr


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("service:2", "has a frontend: name its image, too (FRONTEND_IMAGE=...)"),
        ("FRONTEND_IMAGE=web:2", "needs the API's image as well as web:2"),
    ],
)
def test_one_image_of_two_is_not_deployed(named: str, said: str, tmp_path: Path) -> None:
    """The other one would be whatever the overlay has said since it was written."""
    stage = staged({"preset": "platform"}, tmp_path)
    ran = stage.deploy(named)
    assert ran.returncode == 1
    assert ran.stderr == f"The overlay production {said}\n"
    assert not stage.calls.exists()


def test_frontend_that_is_not_there_is_not_deployed(tmp_path: Path) -> None:
    stage = staged({"preset": "platform", "frontend": "none"}, tmp_path)
    ran = stage.deploy("FRONTEND_IMAGE=web:1")
    assert ran.returncode == 1
    assert ran.stderr == "The overlay production has no image frontend that web:1 could replace\n"
    assert not stage.calls.exists()
    assert stage.deploy("service:2").returncode == 0
    [*_, manifests] = stage.applied()
    assert container(manifests)["image"] == "service:2"
    assert manifests.find("Deployment", "frontend") is None


@contextmanager
def heeded(number: signal.Signals) -> Iterator[None]:
    """Let programs that are started here heed a signal, also where these tests must not.

    A shell cannot trap what was ignored when it began, as SIGINT is in the background of a script.
    """
    before = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP"])
def test_deploying_leaves_nothing_behind_when_it_is_stopped(name: str, tmp_path: Path) -> None:
    """A stand-in for kubectl sends the signal: the real one is too quick to be cut off."""
    place = RENDERER.write(RENDERER.tree(SERVICES.resolve(RICH["mysql"])), tmp_path) / PLACE
    kubectl = tmp_path / "bin/kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text(f"#!/bin/sh\nkill -{name} $PPID\n", "utf-8")
    kubectl.chmod(0o755)
    made = tmp_path / "made"
    made.mkdir()
    number = signal.Signals[f"SIG{name}"]
    with heeded(number):
        ran = subprocess.run(
            ["sh", str(place / "deploy.sh"), "production", "service:1"],
            env={
                "PATH": f"{kubectl.parent}:/usr/bin:/bin",
                "TMPDIR": str(made),
                "FRONTEND_IMAGE": "web:1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert ran.returncode == 128 + number
    assert not list((place / "overlays").glob("deploying-*"))
    assert not list(made.iterdir())


def test_rules_are_those_of_prometheus() -> None:
    """`python -m tools.prometheus_rules` writes them anew."""
    for path, text in written().items():
        assert (TEMPLATE.directory / path).read_text("utf-8") == text
    assert {path for path in SERVICES.paths if "/rules/" in path} == written().keys()


EXPLAINED = {
    "CKV_K8S_8": (
        "StatefulSet",
        "a server for development that starts anew while it recovers never gets ready",
    ),
    "CKV_K8S_9": ("worker", "nobody sends requests to a worker"),
    "CKV_K8S_11": ("", "a limit on the CPU slows requests down on a machine that idles"),
    "CKV_K8S_15": ("", "tags are never moved, and an outage of the registry must not stop a pod"),
    "CKV_K8S_35": ("", "settings are environment variables; the master key is a file"),
    "CKV_K8S_40": ("StatefulSet", "the public images of the servers run as the user 999"),
    "CKV_K8S_43": ("", "the pipeline sets the image, by digest where it likes"),
}
"""What checkov finds and stays: of which resources, and why."""


def checkov_finds(directory: Path) -> set[tuple[str, str]]:
    """Give the failed checks and their resources."""
    program = checkov_program()
    if program is None:
        pytest.skip("no checkov: .ci/checkov")
    options = ["--framework", "kubernetes", "--quiet", "--skip-download", "--output", "json"]
    ran = subprocess.run(
        [program, *options, "--directory", str(directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(ran.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["resource_count"] > 0
    failed = report["results"]["failed_checks"]
    return {(finding["check_id"], finding["resource"]) for finding in failed}


def test_checkov_finds_nothing_unexplained(tmp_path: Path) -> None:
    for name in RICH:
        for overlay in OVERLAYS:
            text = yaml.safe_dump_all(rich(name, overlay).manifests.objects)
            (tmp_path / f"{name}-{overlay}.yaml").write_text(text, "utf-8")
    found = checkov_finds(tmp_path)
    unexplained = {
        (check, resource)
        for check, resource in found
        if check not in EXPLAINED or EXPLAINED[check][0] not in resource
    }
    assert not unexplained
    assert {check for check, _ in found} == EXPLAINED.keys()


def test_checkov_finds_a_fault(tmp_path: Path) -> None:
    def weaken(it: Manifests) -> None:
        container(it)["securityContext"] = {"privileged": True}
        _without(it, "NetworkPolicy", "default-deny")

    weakened = changed(rich("postgresql", "production"), weaken)
    text = yaml.safe_dump_all(weakened.objects)
    (tmp_path / "weakened.yaml").write_text(text, "utf-8")
    assert "CKV_K8S_16" in {check for check, _ in checkov_finds(tmp_path)} - EXPLAINED.keys()


ACCEPT = """
from app.config import Settings
from app.core.settings import load_settings
print(load_settings(Settings).environment)
"""
STARTS: dict[str, Answers] = {
    "platform": {"preset": "platform"},
    "trading": {"preset": "trading"},
    "tenants": {"tenancy": True, "auth": "clerk", "encryption": True},
    "supabase": {"auth": "supabase", "worker": "arq", "external_api": "bybit"},
    "oidc": {"auth": "oidc", "database": "mysql"},
    "openid": {"auth": "oidc", "frontend": "nextjs"},
    "open": {"auth": "none", "database": "sqlite", "databases": "dual", "worker": "celery"},
}


@pytest.mark.parametrize("name", STARTS)
def test_service_accepts_what_its_pods_are_given(name: str, tmp_path: Path) -> None:
    """Production refuses to start when something is missing, insecure or misspelt."""
    answers = SERVICES.resolve(STARTS[name])
    directory = RENDERER.write(RENDERER.tree(answers), tmp_path)
    supply_secrets(directory)
    overlay = SERVICES.overlay(directory, "production", answers)
    [given, *others] = [
        overlay.settings(workload)
        for workload in overlay.of_the_service
        if workload.component != "migrate"
    ]
    assert others in ([], [given])
    if "RENDER_MASTER_KEY_PATH" in given:
        key = tmp_path / "master-key"
        key.write_text(MASTER_KEY, "utf-8")
        key.chmod(0o440)
        given["RENDER_MASTER_KEY_PATH"] = str(key)
    assert python(directory, "-c", ACCEPT, **given) == "production\n"
    if name == "open":
        with pytest.raises(AssertionError, match="SECRET_KEY"):
            python(directory, "-c", ACCEPT, **{**given, "SECRET_KEY": ""})
