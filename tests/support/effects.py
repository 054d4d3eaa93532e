"""What each overlay and component of the Kubernetes manifests must have changed.

kustomize says nothing when a patch has no target, or changes what nobody reads.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from tests.support.overlays import Overlay
from tests.support.references import Workload, applied, granted

REPLICAS = {"development": 1, "staging": 1, "production": 3}
POLICIES = {
    "postgresql": "to-database",
    "mysql": "to-database",
    "redis": "to-redis",
    "gateway": "to-upstreams",
    "nextjs": "from-frontend",
    "kubernetes_nextjs": "to-api",
    "kubernetes_nextjs_provider": "to-provider",
    "vault": "to-vault",
    "monitoring": "from-prometheus",
    "monitored_worker": "from-prometheus-to-workers",
    "tracing": "to-collector",
}
"""The network policies of pieces."""

RULES = {
    "monitoring": {"database", "http", "jobs", "service", "slo", "upstreams"},
    "monitored_auth": {"identity"},
    "monitored_redis": {"redis"},
    "monitored_vault": {"vault"},
    "monitored_worker": {"worker"},
}
"""The rules for Prometheus of pieces."""

DEPLOYED = frozenset({"vault", "encryption", "monitoring", "monitored_worker", "tracing"})
"""Pieces that the overlay for development goes without."""

HOSTS = {
    "development": [],
    "staging": ["api.staging.example.com"],
    "production": ["api.example.com"],
}
PAGES = {
    "staging": "https://app.staging.example.com",
    "production": "https://app.example.com",
}
SECRETS_OF_THE_FRONTEND = {"clerk": "CLERK_SECRET_KEY", "oidc": "OIDC_CLIENT_SECRET"}
TOKEN = "/var/run/secrets/vault/token"  # noqa: S105
MASTER_KEY = "/etc/secrets/master-key"


def missing(overlay: Overlay) -> Iterator[str]:
    """Say which of the expected effects are not there."""
    yield from _everywhere(overlay)
    yield from _of_the_database(overlay)
    yield from _of_the_frontend(overlay)
    yield from _servers(overlay) if overlay.name == "development" else _deployed(overlay)


def _everywhere(overlay: Overlay) -> Iterator[str]:
    components = {each.component for each in overlay.of_the_service}
    wanted = {"api"} | ({"worker"} & overlay.active)
    wanted |= set() if "sqlite" in overlay.active else {"migrate"}
    if components != wanted:
        yield f"there are {sorted(components)} instead of {sorted(wanted)}"
    for workload in overlay.of_the_service:
        if overlay.settings(workload).get("ENVIRONMENT") != overlay.name:
            yield f"{workload.name} does not know that it is in {overlay.name}"
        owner = any(name.startswith("MIGRATION_") for name in _secrets(overlay, workload))
        knows = "row_security" in overlay.active and workload.component == "migrate"
        if owner != knows:
            yield f"{workload.name} and the owner of the tables: {owner} instead of {knows}"
    on = overlay.active - (DEPLOYED if overlay.name == "development" else frozenset())
    expected = {policy for piece, policy in POLICIES.items() if piece in on}
    policies = {each["metadata"]["name"] for each in overlay.manifests.of("NetworkPolicy")}
    if policies.intersection(POLICIES.values()) != expected:
        yield f"the network policies are {sorted(policies)}"
    for scaler in overlay.manifests.of("HorizontalPodAutoscaler"):
        if scaler["spec"]["minReplicas"] != REPLICAS[overlay.name]:
            yield f"HorizontalPodAutoscaler {scaler['metadata']['name']} has another minimum"
    hosts = [
        rule["host"]
        for ingress in overlay.manifests.of("Ingress")
        if ingress["metadata"]["name"] == "api"
        for rule in ingress["spec"]["rules"]
    ]
    if hosts != HOSTS[overlay.name]:
        yield f"the Ingress answers for {hosts}"


def _of_the_frontend(overlay: Overlay) -> Iterator[str]:
    manifests, on = overlay.manifests, "nextjs" in overlay.active
    kinds = ["Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"]
    kinds += [] if overlay.name == "development" else ["Ingress"]
    for kind in ("Ingress", *kinds):
        if (manifests.find(kind, "frontend") is not None) != (on and kind in kinds):
            yield f"{kind} frontend is {'not ' * on}there"
    policy = manifests.find("NetworkPolicy", "from-ingress")
    if policy is None or bool(_selected(overlay, policy) & {"frontend"}) != on:
        yield "the ingress controller and the frontend"
    for workload in manifests.workloads:
        if workload.component != "frontend":
            continue
        given, [container] = overlay.settings(workload), workload.containers
        pages = PAGES.get(overlay.name, f"http://localhost:{overlay.answers['port_base'] or 3000}")
        if given.get("FRONTEND_URL") != pages:
            yield f"the frontend thinks that it is at {given.get('FRONTEND_URL')}"
        wanted = {SECRETS_OF_THE_FRONTEND.get(overlay.answers["auth"])} - {None}
        if _secrets(overlay, workload) != wanted:
            yield f"the frontend has the secrets {sorted(_secrets(overlay, workload))}"
        if _mounts(container) != {"/tmp", "/srv/.next/cache"}:  # noqa: S108
            yield f"the frontend may write to {sorted(_mounts(container))}"
        address = urlsplit(pages)
        ingress = manifests.find("Ingress", "frontend")
        if ingress and [rule["host"] for rule in ingress["spec"]["rules"]] != [address.hostname]:
            yield "the Ingress of the frontend has another host than FRONTEND_URL"


def _selected(overlay: Overlay, policy: Any) -> set[str]:
    return {each.component for each in overlay.manifests.selected(policy["spec"]["podSelector"])}


def _of_the_database(overlay: Overlay) -> Iterator[str]:
    service = [each for each in overlay.manifests.objects if not _is_of_the_frontend(each)]
    kinds = {each["kind"] for each in service}
    alone = "sqlite" in overlay.active
    for kind in ("HorizontalPodAutoscaler", "PodDisruptionBudget", "Job"):
        if (kind in kinds) == alone:
            yield f"{kind} is {'' if kind in kinds else 'not '}there"
    for deployment in service:
        if deployment["kind"] != "Deployment":
            continue
        kept = (deployment["spec"].get("replicas"), deployment["spec"]["strategy"]["type"])
        if (kept == (1, "Recreate")) != alone:
            yield f"Deployment {deployment['metadata']['name']} has replicas, strategy: {kept}"
    for workload in overlay.of_the_service:
        mounted = all("/data" in _mounts(each) for each in workload.containers)
        if mounted != alone:
            yield f"{workload.name} has a wrong idea of /data"


def _is_of_the_frontend(each: Any) -> bool:
    component = each["metadata"].get("labels", {}).get("app.kubernetes.io/component")
    return bool(component == "frontend")


def _servers(overlay: Overlay) -> Iterator[str]:
    """In development the addresses of servers lead to those of the same namespace."""
    names = {each["metadata"]["name"] for each in overlay.manifests.of("Service")}
    for workload in overlay.of_the_service:
        for name, value in overlay.settings(workload).items():
            host = urlsplit(value).hostname
            if re.search("(DATABASE|REDIS)_URL", name) and host is not None and host not in names:
                yield f"{workload.name}: {name} leads to {host}, which is not there"
    servers = {each["metadata"]["name"] for each in overlay.manifests.of("StatefulSet")}
    if servers != names - {"api", "frontend"}:
        yield f"the servers are {sorted(servers)}"


def _deployed(overlay: Overlay) -> Iterator[str]:
    for workload in overlay.of_the_service:
        settings = overlay.settings(workload)
        asks_vault = (
            settings.get("VAULT_K8S_TOKEN_PATH") == TOKEN
            and bool(settings.get("VAULT_K8S_ROLE"))
            and settings.get("VAULT_ADDR", "").startswith("https://")
            and all(TOKEN.rpartition("/")[0] in _mounts(each) for each in workload.containers)
            and _token(workload) == {"path": "token", "audience": "vault"}
        )
        if asks_vault != ("vault" in overlay.active):
            yield f"{workload.name} and Vault: {asks_vault}"
        if asks_vault and "SECRET_KEY" in _secrets(overlay, workload):
            yield f"{workload.name} is given secrets besides those in Vault"
        keeps_key = (
            settings.get("RENDER_MASTER_KEY_PATH") == MASTER_KEY
            and MASTER_KEY.rpartition("/")[0] in _mounts(workload.spec["containers"][0])
            and _mode_of_master_key(workload) == 0o440
            and bool(workload.spec["securityContext"].get("fsGroup"))
        )
        if keeps_key != ("encryption" in overlay.active and workload.component != "migrate"):
            yield f"{workload.name} and the master key: {keeps_key}"
        traced = settings.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").endswith(":4318")
        if traced != ("tracing" in overlay.active):
            yield f"{workload.name} and its traces: {traced}"
    yield from _monitored(overlay)
    spare = granted(overlay.manifests) - applied(overlay.manifests)
    if overlay.name == "production" and spare:
        yield f"the pipeline may apply {sorted(spare)} to no end"


def _monitored(overlay: Overlay) -> Iterator[str]:
    for kind, piece in (("ServiceMonitor", "monitoring"), ("PodMonitor", "monitored_worker")):
        if bool(overlay.manifests.of(kind)) != (piece in overlay.active):
            yield f"{kind} is {'not ' * (piece in overlay.active)}there"
    # Production's hold for the namespace of staging, too.
    ruled = frozenset[str]() if overlay.name == "staging" else overlay.active
    expected = set[str]().union(*(names for piece, names in RULES.items() if piece in ruled))
    rules = {each["metadata"]["name"] for each in overlay.manifests.of("PrometheusRule")}
    if rules != expected:
        yield f"the rules for Prometheus are {sorted(rules)}"
    for workload in overlay.of_the_service:
        if workload.component == "worker":
            serves = overlay.settings(workload).get("METRICS_PORT") == "9100"
            if (serves and 9100 in workload.ports) != ("monitored_worker" in overlay.active):
                yield f"{workload.name} and its figures: {serves}"


def _secrets(overlay: Overlay, workload: Workload) -> set[str]:
    names = {
        source["secretRef"]["name"]
        for container in workload.containers
        for source in container.get("envFrom", ())
        if "secretRef" in source
    }
    secrets = [each for each in overlay.manifests.of("Secret") if each["metadata"]["name"] in names]
    return {name for each in secrets for name in each.get("data") or {}}


def _mounts(container: Any) -> set[str]:
    return {mount["mountPath"] for mount in container.get("volumeMounts", ())}


def _token(workload: Workload) -> dict[str, str]:
    for volume in workload.spec["volumes"]:
        for source in volume.get("projected", {}).get("sources", ()):
            token = source["serviceAccountToken"]
            return {key: token[key] for key in ("path", "audience")}
    return {}


def _mode_of_master_key(workload: Workload) -> int | None:
    modes = [
        volume["secret"].get("defaultMode")
        for volume in workload.spec["volumes"]
        if volume["name"] == "master-key"
    ]
    return modes[0] if modes else None
