"""Real Vault servers: one for development, in memory, and one that is initialised and unsealed."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx2
import hvac
import pytest

from app.core.secrets.vault.place import DEFAULT_MOUNT, DEFAULT_PATH
from tests.core.ports import free_port

POLICIES = Path("deploy/vault")
ROOT_TOKEN = "root-of-the-tests"  # noqa: S105
PATIENCE = 20
COMMENTED_RULE = re.compile(r"^# (path .*|  capabilities.*|\})$", re.MULTILINE)

CONFIGURATION = """\
disable_mlock = true
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{cluster_port}"
storage "raft" {{
  path = "{data}"
  node_id = "one"
  performance_multiplier = 1
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_disable = true
}}
"""


def vault_program() -> str:
    """Find Vault: VAULT_BINARY, or on the PATH; skip the test when there is none."""
    found = os.environ.get("VAULT_BINARY") or shutil.which("vault")
    if not found:
        pytest.skip("no vault program: install it, or name it by VAULT_BINARY")
    return found


@dataclass
class Vault:
    """A server; it may be stopped and started again."""

    command: list[str]
    port: int
    token: str = ROOT_TOKEN
    key: str = ""
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def root(self) -> hvac.Client:
        """A client that may do everything."""
        return hvac.Client(url=self.address, token=self.token, timeout=30)

    def start(self) -> None:
        """Start it; whoever asks waits until it answers."""
        self.process = subprocess.Popen(  # noqa: S603
            self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + PATIENCE
        while not self._answers():
            assert self.process.poll() is None, "Vault did not start"
            assert time.monotonic() < end, "Vault does not answer"
            time.sleep(0.02)

    def stop(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def initialise(self) -> None:
        """Make its key and its root token, unseal it and mount the KV engine."""
        made = self.root.sys.initialize(secret_shares=1, secret_threshold=1)
        self.key, self.token = made["keys"][0], made["root_token"]
        self.unseal()
        self.root.sys.enable_secrets_engine("kv", path=DEFAULT_MOUNT, options={"version": "2"})
        self.wait_for_engine()

    def seal(self) -> None:
        """Close it: it answers, and says no."""
        self.root.sys.seal()

    def unseal(self) -> None:
        """Open it."""
        self.root.sys.submit_unseal_key(self.key)
        end = time.monotonic() + PATIENCE
        while httpx2.get(f"{self.address}/v1/sys/health", timeout=30).status_code != 200:
            assert time.monotonic() < end, "Vault does not become active"
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            self.root.sys.read_seal_status()
        except (hvac.exceptions.VaultError, OSError):
            return False
        return True

    def wait_for_engine(self) -> None:
        # The engine upgrades itself for a moment, and refuses writes meanwhile.
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.root.secrets.kv.v2.create_or_update_secret("ready", {"yes": "1"})
            except hvac.exceptions.InvalidRequest:
                assert time.monotonic() < end, "the KV engine does not become ready"
                time.sleep(0.02)
            else:
                return


@dataclass
class Place:
    """Where one service keeps its secrets in a server, and how it logs in there."""

    vault: Vault
    path: str
    variables: Mapping[str, str]

    def write(self, **values: str) -> int:
        """Replace the service's own secrets and give their version."""
        done = self.vault.root.secrets.kv.v2.create_or_update_secret(self.path, values)
        return int(done["data"]["version"])

    def change(self, **values: str) -> None:
        """Change some of the service's own secrets."""
        self.write(**{**self.read(), **values})

    def read(self) -> dict[str, str]:
        """Read the service's own secrets."""
        answer = self.vault.root.secrets.kv.v2.read_secret_version(
            self.path, raise_on_deleted_version=True
        )
        values: dict[str, str] = answer["data"]["data"]
        return values

    def environment(self, **variables: str) -> dict[str, str]:
        """What a service of this place finds in its environment."""
        patient = {"VAULT_REFRESH_SECONDS": "0.2", "VAULT_TIMEOUT": "5"}
        return {**self.variables, **patient, **variables}


def new_place(
    vault: Vault, *, policy: str = "service", with_comments: bool = False, **role: object
) -> Place:
    """Make a place of its own with the policy and an AppRole as deploy/vault does it.

    Args:
        vault: the server.
        policy: the name of the file in deploy/vault.
        with_comments: with the rules in it that are commented out.
        role: further parameters of the AppRole.
    """
    path = f"test-{uuid4().hex[:12]}"
    rules = (POLICIES / f"{policy}.hcl").read_text("utf-8")
    if with_comments:
        rules = COMMENTED_RULE.sub(r"\1", rules)
    vault.root.sys.create_or_update_policy(path, rules.replace(f"/{DEFAULT_PATH}", f"/{path}"))
    approle = vault.root.auth.approle
    if "approle/" not in vault.root.sys.list_auth_methods()["data"]:
        vault.root.sys.enable_auth_method("approle")
    approle.create_or_update_approle(
        path, token_policies=[path], token_no_default_policy=True, **role
    )
    variables = {
        "VAULT_ADDR": vault.address,
        "VAULT_PATH": path,
        "VAULT_ROLE_ID": approle.read_role_id(path)["data"]["role_id"],
        "VAULT_SECRET_ID": approle.generate_secret_id(path)["data"]["secret_id"],
    }
    return Place(vault, path, variables)


@contextmanager
def development_server() -> Iterator[Vault]:
    """Run a server in development mode: unsealed, in memory."""
    port = free_port()
    options = [f"-dev-root-token-id={ROOT_TOKEN}", f"-dev-listen-address=127.0.0.1:{port}"]
    command = [vault_program(), "server", "-dev", "-dev-no-store-token", *options]
    vault = Vault(command, port)
    vault.start()
    try:
        vault.wait_for_engine()
        yield vault
    finally:
        vault.stop()


@contextmanager
def real_server(directory: Path) -> Iterator[Vault]:
    """Run a server as in production, but for TLS: its data on disk, initialised and unsealed."""
    port = free_port()
    configuration = directory / "vault.hcl"
    (data := directory / "data").mkdir()
    ports = {"port": port, "cluster_port": free_port()}
    configuration.write_text(CONFIGURATION.format(data=data, **ports), "utf-8")
    vault = Vault([vault_program(), "server", f"-config={configuration}"], port)
    vault.start()
    try:
        vault.initialise()
        yield vault
    finally:
        vault.stop()
