"""A real API server of Kubernetes, without nodes: it judges objects, and runs nothing."""

import json
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.kubernetes import Object, built_program
from tests.support.runs import free_port

TOKEN = "of-the-tests"  # noqa: S105
START_SECONDS = 300


@dataclass
class Cluster:
    """The API of a running server.

    Attributes:
        url: where it is.
        client: may do everything.
    """

    url: str
    client: httpx2.Client
    _plurals: dict[str, dict[str, tuple[str, bool]]] = field(default_factory=dict)

    def create(self, each: Object, *, dry: bool) -> httpx2.Response:
        """Send a new object, strictly: unknown fields are faults.

        Args:
            each: the object.
            dry: whether it is only judged.
        """
        options = {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry else {})
        return self.client.post(self._path(each), params=options, json=each)

    def refusal(self, each: Object) -> str:
        """Say why an object is refused, or what the server warns of; empty when it is accepted."""
        answer = self.create(each, dry=True)
        if answer.status_code != httpx2.codes.CREATED:
            return f"{answer.status_code} {answer.json()['message']}"
        return str(answer.headers.get("warning", ""))

    def define(self, group: str, version: str, kind: str, schema: Mapping[str, Any]) -> None:
        """Define a kind of an operator's, and wait until the server knows it."""
        plural = f"{kind.lower()}s"
        definition = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {
                "group": group,
                "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
                "scope": "Namespaced",
                "versions": [
                    {
                        "name": version,
                        "served": True,
                        "storage": True,
                        "schema": {"openAPIV3Schema": structural(schema)},
                    }
                ],
            },
        }
        answer = self.create(definition, dry=False)
        assert answer.status_code == httpx2.codes.CREATED, answer.text
        end = time.monotonic() + START_SECONDS
        while self.client.get(f"/apis/{group}/{version}/{plural}").status_code != httpx2.codes.OK:
            assert time.monotonic() < end, f"{kind} is not served"
            time.sleep(0.1)

    def _path(self, each: Object) -> str:
        version = str(each["apiVersion"])
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if each["kind"] not in self._plurals.setdefault(root, {}):
            listed = self.client.get(root).json().get("resources", ())
            self._plurals[root] = {
                entry["kind"]: (entry["name"], entry["namespaced"])
                for entry in listed
                if "/" not in entry["name"]
            }
        plural, namespaced = self._plurals[root].get(each["kind"], (each["kind"].lower(), False))
        namespace = f"/namespaces/{each['metadata'].get('namespace')}" if namespaced else ""
        return f"{root}{namespace}/{plural}"


def structural(schema: Any) -> Any:
    """Say a JSON schema as the server wants it: either-or of text and number has a name there."""
    if isinstance(schema, list):
        return [structural(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    types = {str(each.get("type")) for each in schema.get("oneOf", ()) if isinstance(each, Mapping)}
    if types == {"integer", "string"}:
        return {"x-kubernetes-int-or-string": True}
    kept = {key: value for key, value in schema.items() if key != "additionalProperties"}
    if isinstance(schema.get("additionalProperties"), Mapping):
        kept["additionalProperties"] = schema["additionalProperties"]
    return {key: structural(value) for key, value in kept.items()}


@contextmanager
def api_server() -> Iterator[Cluster]:
    """Run etcd and the API server.

    Raises:
        LookupError: one of the programs is not there.
    """
    server = shutil.which("kube-apiserver") or built_program("kube-apiserver")
    etcd = shutil.which("etcd")
    if server is None or etcd is None:
        raise LookupError("no kube-apiserver or etcd: make kubernetes")
    with TemporaryDirectory(prefix="groundwork-", ignore_cleanup_errors=True) as place:
        directory, storage, port = Path(place), free_port(), free_port()
        url = f"https://127.0.0.1:{port}"
        commands = (
            _etcd(etcd, directory, storage),
            _server(server, directory, storage, port),
        )
        processes: list[subprocess.Popen[bytes]] = []
        try:
            with (directory / "log").open("wb") as log:
                processes += [
                    subprocess.Popen(command, stdout=log, stderr=log) for command in commands
                ]
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            headers = {"Authorization": f"Bearer {TOKEN}"}
            with httpx2.Client(
                base_url=url, verify=context, headers=headers, timeout=120
            ) as client:
                _wait_for(client, processes, directory / "log")
                yield Cluster(url, client)
        finally:
            for process in reversed(processes):
                process.kill()
                process.wait()


def _etcd(program: str, directory: Path, port: int) -> list[str]:
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{free_port()}"
    return [
        program,
        f"--data-dir={directory / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--log-level=error",
    ]


def _server(program: str, directory: Path, storage: int, port: int) -> list[str]:
    key = rsa.generate_private_key(65_537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (directory / "accounts.key").write_bytes(pem)
    (directory / "tokens.csv").write_text(f"{TOKEN},tests,1,system:masters\n", "utf-8")
    return [
        program,
        f"--etcd-servers=http://127.0.0.1:{storage}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={directory / 'certificates'}",
        f"--token-auth-file={directory / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        # What is privileged is refused by the level of the namespace, not by the server as a whole.
        "--allow-privileged=true",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--service-account-issuer=https://kubernetes.invalid",
        f"--service-account-key-file={directory / 'accounts.key'}",
        f"--service-account-signing-key-file={directory / 'accounts.key'}",
    ]


def _wait_for(client: httpx2.Client, processes: "list[subprocess.Popen[bytes]]", log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        said = log.read_text("utf-8", errors="replace")[-2000:]
        assert all(process.poll() is None for process in processes), said
        assert time.monotonic() < end, said
        try:
            if client.get("/readyz").status_code == httpx2.codes.OK:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.1)


def kubeconfig(cluster: Cluster, file: Path) -> Path:
    """Write what kubectl needs to reach a cluster."""
    file.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [
                    {
                        "name": "tests",
                        "cluster": {"server": cluster.url, "insecure-skip-tls-verify": True},
                    }
                ],
                "users": [{"name": "tests", "user": {"token": TOKEN}}],
                "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
                "current-context": "tests",
            }
        ),
        "utf-8",
    )
    return file
