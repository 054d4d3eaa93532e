"""What no schema sees in a set of Kubernetes objects: whether one fits to the other.

Each rule looks at everything that one overlay comes to, and says what is wrong there.
"""

import base64
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from tests.support.kubernetes import Object

WORKLOADS = ("Deployment", "StatefulSet", "Job", "CronJob")
FROM_ELSEWHERE = {("Secret", "api-tls"), ("Secret", "frontend-tls")}
"""References to what others make: the certificates, by cert-manager or by hand."""

FOREIGN = {"acme.cert-manager.io/http01-solver": "true"}
"""Labels of pods that cert-manager makes, to be told apart from those that nobody does."""

PIPELINE = "pipeline"
"""The account that runs deploy.sh."""

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
CLUSTER_WIDE = ("Namespace", "ClusterSecretStore")
INSIDE = ("/metrics", "/health", "/health/detailed", "/ready")
"""Paths that no Ingress may lead to."""

PLACEHOLDERS = ("service", "frontend")
"""The images in the base, which every overlay replaces."""

DRAIN_SECONDS = 5
"""Default of SHUTDOWN_DRAIN_SECONDS where a service is deployed."""

DEFAULT_PORTS = {"https": 443, "http": 80, "postgresql": 5432, "mysql": 3306, "smtps": 465}
OF_THE_SERVICE = ("api", "worker", "migrate")
OF_THE_FRONTEND = re.compile("API_URL|FRONTEND_URL|(CLERK|OIDC|SUPABASE)_[A-Z_]+")
"""All that the frontend is given."""


@dataclass(frozen=True)
class Workload:
    """A pod that something makes.

    Attributes:
        owner: the object that makes it.
        labels: of the pod.
        spec: of the pod.
    """

    owner: Object
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def name(self) -> str:
        """How a fault calls it."""
        return f"{self.owner['kind']} {self.owner['metadata']['name']}"

    @property
    def component(self) -> str:
        """What it is in the service."""
        return self.labels.get("app.kubernetes.io/component", "")

    @property
    def containers(self) -> list[Mapping[str, Any]]:
        """All of its containers, the initial ones first."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    @property
    def ports(self) -> set[str | int]:
        """Names and numbers of the ports that it listens on."""
        ports = [port for each in self.containers for port in each.get("ports", ())]
        return {port["name"] for port in ports} | {port["containerPort"] for port in ports}


class Manifests:
    """All objects of one overlay.

    Args:
        objects: what kustomize gives.
        documented: the variables that the service reads, by .env.example, with their defaults.
    """

    def __init__(self, objects: Iterable[Object], documented: Mapping[str, str]) -> None:
        self.objects = list(objects)
        self.documented = documented

    def of(self, *kinds: str) -> list[Object]:
        """Give the objects of some kinds."""
        return [each for each in self.objects if each["kind"] in kinds]

    def find(self, kind: str, name: str) -> Object | None:
        """Give the object of a name, if it is there."""
        return next((each for each in self.of(kind) if each["metadata"]["name"] == name), None)

    @cached_property
    def workloads(self) -> list[Workload]:
        """Everything that makes pods."""
        found = []
        for owner in self.of(*WORKLOADS):
            spec = owner["spec"]
            template = spec["jobTemplate"]["spec"]["template"] if "jobTemplate" in spec else None
            template = template or spec["template"]
            labels = template.get("metadata", {}).get("labels", {})
            found.append(Workload(owner, labels, template["spec"]))
        return found

    def selected(self, selector: Mapping[str, Any]) -> list[Workload]:
        """Give the workloads whose pods a label selector finds."""
        return [each for each in self.workloads if matches(selector, each.labels)]

    def environment(self, container: Mapping[str, Any]) -> dict[str, str]:
        """Give the variables of a container; what is not written here is an empty text."""
        found: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if key in source:
                    found |= self._data(kind, source[key]["name"])
        for entry in container.get("env", ()):
            found[entry["name"]] = entry.get("value", "")
        return found

    def _data(self, kind: str, name: str) -> dict[str, str]:
        holder = self.find(kind, name)
        if holder is None:
            return {}
        data: dict[str, str] = holder.get("data") or {}
        return data if kind == "ConfigMap" else decoded(data)


def decoded(data: Mapping[str, str]) -> dict[str, str]:
    """Decode the values of a Secret."""
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector finds something with these labels; an empty one finds everything."""
    for name, value in (selector.get("matchLabels") or {}).items():
        if labels.get(name) != value:
            return False
    for rule in selector.get("matchExpressions") or ():
        found = labels.get(rule["key"])
        holds = {
            "In": found in rule.get("values", ()),
            "NotIn": found not in rule.get("values", ()),
            "Exists": found is not None,
            "DoesNotExist": found is None,
        }
        if not holds[rule["operator"]]:
            return False
    return True


def workloads_select_their_own(manifests: Manifests) -> Iterator[str]:
    """Each workload finds its own pods and nobody else's, and is spread among them."""
    for workload in manifests.workloads:
        own = workload.owner["spec"].get("selector")
        if own and not matches(own, workload.labels):
            yield f"{workload.name} does not select its own pods"
        if own and len(manifests.selected(own)) != 1:
            yield f"{workload.name} selects the pods of others"
        for spread in workload.spec.get("topologySpreadConstraints", ()):
            if not matches(spread["labelSelector"], workload.labels):
                yield f"{workload.name} is spread among the pods of others"


def neighbours_exist(manifests: Manifests) -> Iterator[str]:
    """Who must run beside others has others to run beside."""
    for workload in manifests.workloads:
        affinity = workload.spec.get("affinity", {}).get("podAffinity", {})
        for term in affinity.get("requiredDuringSchedulingIgnoredDuringExecution", ()):
            if not manifests.selected(term["labelSelector"]):
                yield f"{workload.name} wants to be near pods that nobody makes"


def _of_others(selector: Object) -> bool:
    """Whether it selects pods that an operator makes, and no manifest."""
    return bool(FOREIGN.items() <= selector.get("matchLabels", {}).items())


def selectors_find_pods(manifests: Manifests) -> Iterator[str]:
    """Whatever selects pods finds some."""
    for kind, field in (
        ("Service", "selector"),
        ("PodDisruptionBudget", "selector"),
        ("NetworkPolicy", "podSelector"),
    ):
        for each in manifests.of(kind):
            selector = each["spec"][field]
            selector = {"matchLabels": selector} if kind == "Service" else selector
            if not manifests.selected(selector) and not _of_others(selector):
                yield f"{kind} {each['metadata']['name']} selects no pod"


def probes_ask_where_somebody_listens(manifests: Manifests) -> Iterator[str]:
    """Each probe names a port of its own container."""
    for workload in manifests.workloads:
        for container in workload.containers:
            named = {port["name"] for port in container.get("ports", ())}
            for probe in PROBES:
                port = container.get(probe, {}).get("httpGet", {}).get("port")
                if port is not None and port not in named:
                    yield f"{workload.name}: its {probe} asks at {port}, where nobody listens"


def services_lead_somewhere(manifests: Manifests) -> Iterator[str]:
    """Each port of a Service leads to one on which all of its pods listen."""
    for service in manifests.of("Service"):
        pods = manifests.selected({"matchLabels": service["spec"]["selector"]})
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            if not all(target in pod.ports for pod in pods):
                yield f"Service {service['metadata']['name']} leads to {target}: nobody listens"


def ingresses_lead_somewhere(manifests: Manifests) -> Iterator[str]:
    """Each path of an Ingress leads to a port of a Service."""
    for ingress in manifests.of("Ingress"):
        for path in _paths(ingress):
            backend = path["backend"]["service"]
            service = manifests.find("Service", backend["name"])
            if service is None or backend["port"].get("name") not in _port_names(service):
                yield f"Ingress: {path['path']} leads to a port that no Service has"


def policies_open_real_ports(manifests: Manifests) -> Iterator[str]:
    """What a policy lets in reaches somebody who listens."""
    for policy in manifests.of("NetworkPolicy"):
        pods = manifests.selected(policy["spec"]["podSelector"])
        for rule in policy["spec"].get("ingress", ()):
            for port in rule.get("ports", ()):
                listening = any(port["port"] in pod.ports for pod in pods)
                if not listening and not _of_others(policy["spec"]["podSelector"]):
                    name = policy["metadata"]["name"]
                    yield f"NetworkPolicy {name} opens {port['port']}, where nobody listens"


def monitors_find_services(manifests: Manifests) -> Iterator[str]:
    """Prometheus is led to a Service, and to a port that it has."""
    for monitor in manifests.of("ServiceMonitor"):
        services = [
            service
            for service in manifests.of("Service")
            if matches(monitor["spec"]["selector"], service["metadata"].get("labels", {}))
        ]
        if not services:
            yield f"ServiceMonitor {monitor['metadata']['name']} selects no Service"
        for endpoint in monitor["spec"]["endpoints"]:
            if not all(endpoint["port"] in _port_names(service) for service in services):
                yield f"ServiceMonitor asks at {endpoint['port']}, which the Service lacks"


def monitors_find_pods(manifests: Manifests) -> Iterator[str]:
    """Prometheus is led to pods that listen where it asks."""
    for monitor in manifests.of("PodMonitor"):
        workloads = manifests.selected(monitor["spec"]["selector"])
        if not workloads:
            yield f"PodMonitor {monitor['metadata']['name']} selects no pod"
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            if not all(endpoint["port"] in workload.ports for workload in workloads):
                yield f"PodMonitor asks at {endpoint['port']}, where nobody listens"


def references_exist(manifests: Manifests) -> Iterator[str]:
    """Whatever is referred to by its name is there."""
    made = {(each["kind"], each["metadata"]["name"]) for each in manifests.objects}
    made |= {("Secret", name) for kind, name in made if kind == "ExternalSecret"}
    spaces = {each["metadata"].get("namespace") for each in manifests.objects}
    for workload in manifests.workloads:
        for kind, name in _references(workload):
            if (kind, name) not in made:
                yield f"{workload.name} refers to the {kind} {name}, which nobody makes"
    for binding in manifests.of("RoleBinding"):
        for each in (binding["roleRef"], *binding["subjects"]):
            space = each.get("namespace", binding["metadata"]["namespace"])
            if (each["kind"], each["name"]) not in made or space not in spaces:
                yield f"RoleBinding refers to the {each['kind']} {space}/{each['name']}: not there"
    for ingress in manifests.of("Ingress"):
        for entry in ingress["spec"].get("tls", ()):
            if ("Secret", entry["secretName"]) not in made | FROM_ELSEWHERE:
                yield f"Ingress refers to the Secret {entry['secretName']}, which nobody makes"


def what_is_made_is_used(manifests: Manifests) -> Iterator[str]:
    """No ConfigMap, Secret or claim is left lying about."""
    used = {each for workload in manifests.workloads for each in _references(workload)}
    used |= {
        (each["kind"], each["name"])
        for binding in manifests.of("RoleBinding")
        for each in binding["subjects"]
    }
    for each in manifests.of("ConfigMap", "Secret", "PersistentVolumeClaim", "ServiceAccount"):
        if (each["kind"], each["metadata"]["name"]) not in used:
            yield f"nobody uses the {each['kind']} {each['metadata']['name']}"


def targets_exist(manifests: Manifests) -> Iterator[str]:
    """What is scaled is there and says no number itself; a StatefulSet has a headless Service."""
    for scaler in manifests.of("HorizontalPodAutoscaler"):
        name, spec = scaler["metadata"]["name"], scaler["spec"]
        target = manifests.find(spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"])
        if target is None:
            yield f"HorizontalPodAutoscaler {name} scales nothing"
        elif "replicas" in target["spec"]:
            yield f"HorizontalPodAutoscaler {name} and its target both say how many there are"
        if spec["minReplicas"] > spec["maxReplicas"]:
            yield f"HorizontalPodAutoscaler {name} has a minimum above its maximum"
    for workload in manifests.workloads:
        if workload.owner["kind"] == "StatefulSet":
            service = manifests.find("Service", workload.owner["spec"]["serviceName"])
            if service is None or service["spec"].get("clusterIP") != "None":
                yield f"{workload.name} has no headless Service of its name"


def volumes_are_declared(manifests: Manifests) -> Iterator[str]:
    """Each mount has its volume, and each volume a mount."""
    for workload in manifests.workloads:
        declared = {volume["name"] for volume in workload.spec.get("volumes", ())}
        claims = workload.owner["spec"].get("volumeClaimTemplates", ())
        declared |= {claim["metadata"]["name"] for claim in claims}
        mounted = {
            mount["name"] for each in workload.containers for mount in each.get("volumeMounts", ())
        }
        for name in sorted(mounted ^ declared):
            yield f"{workload.name}: the volume {name} is not both declared and mounted"


def names_are_unique(manifests: Manifests) -> Iterator[str]:
    """Everything has a name of its own, in the one namespace of the set."""
    names = Counter((each["kind"], each["metadata"]["name"]) for each in manifests.objects)
    for (kind, name), times in names.items():
        if times > 1:
            yield f"{kind} {name} is there {times} times"
    spaces = [each["metadata"]["name"] for each in manifests.of("Namespace")]
    for each in manifests.objects:
        space = each["metadata"].get("namespace")
        if each["kind"] not in CLUSTER_WIDE and [space] != spaces:
            yield f"{each['kind']} {each['metadata']['name']} is in {space}, not in {spaces}"


def images_are_chosen(manifests: Manifests) -> Iterator[str]:
    """No overlay leaves the image of the base, and none takes whatever is the latest."""
    for workload in manifests.workloads:
        for container in workload.containers:
            name, _, tag = container["image"].rpartition(":")
            if not name or name in PLACEHOLDERS or tag == "latest":
                yield f"{workload.name} runs {container['image']}, which is no chosen image"


def pods_are_confined(manifests: Manifests) -> Iterator[str]:
    """The namespace enforces the restricted level; no pod gets a token or variables of Services."""
    for namespace in manifests.of("Namespace"):
        labels = namespace["metadata"].get("labels", {})
        if labels.get("pod-security.kubernetes.io/enforce") != "restricted":
            yield "the namespace does not enforce the restricted level"
    for workload in manifests.workloads:
        for field in ("automountServiceAccountToken", "enableServiceLinks"):
            if workload.spec.get(field) is not False:
                yield f"{workload.name}: {field} is not false"
        for container in workload.containers:
            if not container.get("securityContext", {}).get("readOnlyRootFilesystem"):
                yield f"{workload.name} may write to its root file system"
            if "memory" not in container.get("resources", {}).get("limits", {}):
                yield f"{workload.name} may use all memory"
    policies = {each["metadata"]["name"]: each["spec"] for each in manifests.of("NetworkPolicy")}
    closed = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    if closed not in policies.values():
        yield "nothing denies all traffic that is not allowed"


def pipeline_may_deploy(manifests: Manifests) -> Iterator[str]:
    """Where a pipeline has an account, its role covers all that it applies."""
    if manifests.of("Role"):
        for group, resource in sorted(applied(manifests) - granted(manifests)):
            yield f"the pipeline may not apply {resource} of {group or 'Kubernetes'}"


def applied(manifests: Manifests) -> set[tuple[str, str]]:
    """Give group and resource of all that deploy.sh applies."""
    return {
        (str(each["apiVersion"]).rpartition("/")[0], plural(each["kind"]))
        for each in manifests.objects
        if each["kind"] not in ("Namespace", "Role", "RoleBinding")
        and each["metadata"]["name"] != PIPELINE
    }


def granted(manifests: Manifests) -> set[tuple[str, str]]:
    """Give group and resource of all that roles let the pipeline apply."""
    return {
        (group, resource)
        for role in manifests.of("Role")
        for rule in role["rules"]
        if {"get", "create", "patch"} <= {*rule["verbs"]}
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def plural(kind: str) -> str:
    """Give what the API calls the objects of a kind."""
    name = kind.lower()
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}{'e' * name.endswith('s')}s"


def leaving_has_time(manifests: Manifests) -> Iterator[str]:
    """A pod is killed only after it had the time to drain and to finish what it does."""
    for workload in manifests.workloads:
        if workload.component == "frontend" and not _sleeps(workload):
            yield f"{workload.name} stops before anybody hears of it"
        if workload.component not in ("api", "worker"):
            continue
        settings = {**manifests.documented, **manifests.environment(workload.spec["containers"][0])}
        seconds = int(settings["SHUTDOWN_GRACE_SECONDS"])
        if workload.component == "api":
            seconds += int(float(settings["SHUTDOWN_DRAIN_SECONDS"] or DRAIN_SECONDS))
            if not _sleeps(workload):
                yield f"{workload.name} stops before anybody hears of it"
            seconds += _sleeps(workload)
        if workload.spec.get("terminationGracePeriodSeconds", 30) <= seconds:
            yield f"{workload.name} is killed before its {seconds} s are over"


def _sleeps(workload: Workload) -> int:
    """Give the seconds for which a pod that leaves goes on serving."""
    stop = workload.spec["containers"][0].get("lifecycle", {}).get("preStop", {})
    seconds: int = stop.get("sleep", {}).get("seconds", 0)
    return seconds


def probes_ask_the_right_paths(manifests: Manifests) -> Iterator[str]:
    """Only readiness depends on others: a liveness that does restarts everything at once."""
    ready = {"api": "/ready", "frontend": "/health"}
    for workload in manifests.workloads:
        if workload.component in ready:
            for probe in PROBES:
                path = ready[workload.component] if probe == "readinessProbe" else "/health"
                asked = workload.spec["containers"][0].get(probe, {}).get("httpGet", {})
                if asked.get("path") != path:
                    yield f"{workload.name}: its {probe} asks {asked.get('path')}, not {path}"
        if workload.component == "worker":
            for probe in ("startupProbe", "livenessProbe"):
                if "exec" not in workload.spec["containers"][0].get(probe, {}):
                    yield f"{workload.name} has no {probe}"


def roll_out_keeps_serving(manifests: Manifests) -> Iterator[str]:
    """A Deployment replaces a pod before it stops it, unless it may be there only once."""
    for deployment in manifests.of("Deployment"):
        name, spec = deployment["metadata"]["name"], deployment["spec"]
        if spec.get("replicas") == 1 and spec["strategy"] == {"type": "Recreate"}:
            continue
        if spec["strategy"].get("rollingUpdate", {}).get("maxUnavailable") != 0:
            yield f"Deployment {name} stops pods before others take their place"


def ingress_shows_the_public_only(manifests: Manifests) -> Iterator[str]:
    """Nobody from outside sees metrics and details; the hosts are those that are answered."""
    for ingress in manifests.of("Ingress"):
        leads_to = {path["backend"]["service"]["name"] for path in _paths(ingress)}
        for path in _paths(ingress) if "api" in leads_to else ():
            for inner in INSIDE:
                exact = path["pathType"] == "Exact"
                prefix = path["path"].rstrip("/") + "/"
                if path["path"] == inner or (not exact and f"{inner}/".startswith(prefix)):
                    yield f"Ingress shows {inner}"
        hosts = {rule["host"] for rule in ingress["spec"]["rules"]}
        certified = {host for entry in ingress["spec"].get("tls", ()) for host in entry["hosts"]}
        for host in sorted(hosts ^ certified):
            yield f"Ingress: {host} has no certificate, or nothing else"
        for workload in manifests.workloads:
            if workload.component == "api" and "api" in leads_to:
                answered = manifests.environment(workload.spec["containers"][0])
                for host in sorted(hosts - set(answered.get("ALLOWED_HOSTS", "").split(","))):
                    yield f"{workload.name} does not answer for {host}: ALLOWED_HOSTS"


def environment_is_read(manifests: Manifests) -> Iterator[str]:
    """The service is given no variable that it does not read."""
    for workload in manifests.workloads:
        if workload.component in OF_THE_SERVICE:
            for container in workload.containers:
                names = manifests.environment(container).keys() - manifests.documented.keys()
                for name in sorted(names):
                    yield f"{workload.name}: nobody reads {name}"
        if workload.component == "frontend":
            for name in manifests.environment(workload.containers[0]):
                if not OF_THE_FRONTEND.fullmatch(name):
                    yield f"{workload.name} is given {name}, which is none of its business"


def frontend_reaches_the_api(manifests: Manifests) -> Iterator[str]:
    """The frontend asks a Service that leads to the API, may go there, and is answered."""
    apis = [each for each in manifests.workloads if each.component == "api"]
    for workload in manifests.workloads:
        if workload.component != "frontend":
            continue
        address = urlsplit(manifests.environment(workload.containers[0]).get("API_URL", ""))
        service = manifests.find("Service", address.hostname or "")
        if service is None or manifests.selected({"matchLabels": _selector(service)}) != apis:
            yield f"{workload.name} looks for the API at {address.hostname}"
        elif (address.port or 80) not in {port["port"] for port in service["spec"]["ports"]}:
            yield f"{workload.name} asks the API at port {address.port}"
        for api in apis:
            answered = manifests.environment(api.containers[0]).get("ALLOWED_HOSTS", "*").split(",")
            if not {address.hostname, "*"}.intersection(answered):
                yield f"{api.name} does not answer for {address.hostname}: ALLOWED_HOSTS"
            for direction, one, other in (("egress", workload, api), ("ingress", api, workload)):
                if not _may_talk(manifests, direction, one, other):
                    yield f"no {direction} between {one.name} and {other.name}"
                if _may_talk(manifests, direction, other, one) and _is_closed(manifests):
                    yield f"{direction} of {other.name} with {one.name}, which it does not need"


def _selector(service: Object) -> Mapping[str, str]:
    selector: Mapping[str, str] = service["spec"]["selector"]
    return selector


def _is_closed(manifests: Manifests) -> bool:
    """Whether the pods of the namespace may not all talk to each other, as in development."""
    return manifests.find("NetworkPolicy", "within-namespace") is None


def _may_talk(manifests: Manifests, direction: str, one: Workload, other: Workload) -> bool:
    """Whether a policy of one pod opens a port of the API to or from the pods of the other."""
    peers = {"egress": "to", "ingress": "from"}[direction]
    for policy in manifests.of("NetworkPolicy"):
        if not matches(policy["spec"]["podSelector"], one.labels):
            continue
        for rule in policy["spec"].get(direction, ()):
            selectors = [each["podSelector"] for each in rule[peers] if "podSelector" in each]
            if any(matches(selector, other.labels) for selector in selectors):
                return True
    return False


def databases_are_given(manifests: Manifests) -> Iterator[str]:
    """Each database has its address, unless Vault has it; only migrations know the owner's."""
    wanted = {name for name in manifests.documented if re.match(r"DATABASE_URL", name)}
    for workload in manifests.workloads:
        if workload.component not in OF_THE_SERVICE:
            continue
        for container in workload.containers:
            given = manifests.environment(container)
            outside = manifests.of("ExternalSecret") or given.get("VAULT_ADDR")
            for name in sorted(wanted - given.keys()):
                if not outside:
                    yield f"{workload.name}: {name} is missing"
            migrating = container["name"] == "migrate"
            for name in given:
                if name.startswith("MIGRATION_DATABASE_URL") and not migrating:
                    yield f"{workload.name} knows {name}, which only migrations may know"


def egress_is_allowed(manifests: Manifests) -> Iterator[str]:
    """Whoever is given an address may go there."""
    for workload in manifests.workloads:
        if workload.component not in _USED_BY:
            continue
        ports = list(_open_ports(manifests, workload))
        for container in workload.containers:
            for name, value in manifests.environment(container).items():
                port = _port_of(value)
                wanted = name.startswith(_USED_BY[workload.component])
                if wanted and port is not None and not {port, None}.intersection(ports):
                    yield f"{workload.name} may not go to port {port} of {name}"


_USED_BY = {
    "api": ("DATABASE_URL", "REDIS_URL", "VAULT_ADDR", "SMTP_URL", "OIDC_ISSUER", "OTEL_"),
    "worker": ("DATABASE_URL", "REDIS_URL", "VAULT_ADDR", "SMTP_URL", "OTEL_"),
    "migrate": ("DATABASE_URL", "MIGRATION_DATABASE_URL", "VAULT_ADDR"),
    "frontend": ("OIDC_ISSUER", "SUPABASE_URL"),
}


def _port_of(value: str) -> int | None:
    if not re.match(r"(https?|postgresql|mysql|rediss?|smtps?)://", value):
        return None
    parts = urlsplit(value)
    if (parts.hostname or "").endswith(".invalid"):
        return None
    return parts.port or DEFAULT_PORTS.get(parts.scheme)


def _open_ports(manifests: Manifests, workload: Workload) -> Iterator[int | None]:
    """Give the ports that a workload may go to; None stands for all."""
    for policy in manifests.of("NetworkPolicy"):
        if matches(policy["spec"]["podSelector"], workload.labels):
            for rule in policy["spec"].get("egress", ()):
                everywhere = not rule.get("ports") and rule.get("to") == [{"podSelector": {}}]
                yield from [None] if everywhere else []
                yield from (port["port"] for port in rule.get("ports", ()))


def _paths(ingress: Object) -> list[Mapping[str, Any]]:
    return [path for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]


def _port_names(service: Object) -> set[str]:
    return {port["name"] for port in service["spec"]["ports"]}


def _references(workload: Workload) -> Iterator[tuple[str, str]]:
    if account := workload.spec.get("serviceAccountName"):
        yield "ServiceAccount", account
    for container in workload.containers:
        for source in container.get("envFrom", ()):
            yield from _named(source, "configMapRef", "secretRef")
        for entry in container.get("env", ()):
            yield from _named(entry.get("valueFrom", {}), "configMapKeyRef", "secretKeyRef")
    for volume in workload.spec.get("volumes", ()):
        yield from _named(volume, "configMap", "secret", "persistentVolumeClaim")


def _named(source: Mapping[str, Any], *fields: str) -> Iterator[tuple[str, str]]:
    """Give what some fields refer to; the name stands under another word in each."""
    for field in set(fields) & source.keys():
        kind = field.removesuffix("Ref").removesuffix("Key")
        reference = source[field]
        [name] = [reference[key] for key in ("name", "secretName", "claimName") if key in reference]
        yield kind[0].upper() + kind[1:], name


Rule = Callable[[Manifests], Iterator[str]]

RULES: tuple[Rule, ...] = (
    workloads_select_their_own,
    neighbours_exist,
    selectors_find_pods,
    probes_ask_where_somebody_listens,
    services_lead_somewhere,
    ingresses_lead_somewhere,
    policies_open_real_ports,
    monitors_find_services,
    monitors_find_pods,
    references_exist,
    what_is_made_is_used,
    targets_exist,
    volumes_are_declared,
    names_are_unique,
    images_are_chosen,
    pods_are_confined,
    pipeline_may_deploy,
    leaving_has_time,
    probes_ask_the_right_paths,
    roll_out_keeps_serving,
    ingress_shows_the_public_only,
    environment_is_read,
    frontend_reaches_the_api,
    databases_are_given,
    egress_is_allowed,
)


def faults(manifests: Manifests) -> list[str]:
    """Give what any rule says."""
    return [fault for rule in RULES for fault in rule(manifests)]
