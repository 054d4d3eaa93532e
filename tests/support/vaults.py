"""A real Vault server for services that read their secrets from one."""

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import hvac

from tests.support.runs import free_port, vault_program

ROOT_TOKEN = "root-of-the-tests"  # noqa: S105
START_SECONDS = 300


@contextmanager
def vault_server() -> Iterator[hvac.Client]:
    """Run a development server and give a client that may do everything.

    Raises:
        LookupError: there is no `vault` program.
    """
    program = vault_program()
    if program is None:
        raise LookupError("no vault program: .ci/vault/build, or name one by VAULT_BINARY")
    port = free_port()
    options = [f"-dev-root-token-id={ROOT_TOKEN}", f"-dev-listen-address=127.0.0.1:{port}"]
    process = subprocess.Popen(
        [program, "server", "-dev", "-dev-no-store-token", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        client = hvac.Client(url=f"http://127.0.0.1:{port}", token=ROOT_TOKEN)
        _wait_for(client, process)
        client.sys.enable_auth_method("approle")
        yield client
    finally:
        process.kill()
        process.wait()


def _wait_for(client: hvac.Client, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            client.secrets.kv.v2.create_or_update_secret("ready", {"yes": "1"})
        except (hvac.exceptions.VaultError, OSError):
            assert process.poll() is None, "Vault did not start"
            assert time.monotonic() < end, "Vault does not answer"
            time.sleep(0.05)
        else:
            return


def stored(
    client: hvac.Client, directory: Path, name: str, values: Mapping[str, str]
) -> dict[str, str]:
    """Put a service's secrets into Vault, under the policy that it brings along.

    Args:
        client: may do everything.
        directory: the rendered service.
        name: of its secret, policy and role.
        values: its secrets.

    Returns:
        The environment with which the service finds them.
    """
    client.secrets.kv.v2.create_or_update_secret(name, dict(values))
    rules = (directory / "deploy/vault/service.hcl").read_text("utf-8")
    own = re.findall(r'"secret/data/([\w-]+)"', rules)[0]
    client.sys.create_or_update_policy(name, rules.replace(f"/{own}", f"/{name}"))
    role = client.auth.approle
    role.create_or_update_approle(name, token_policies=[name], token_no_default_policy=True)
    return {
        "VAULT_ADDR": client.url,
        "VAULT_PATH": name,
        "VAULT_ROLE_ID": role.read_role_id(name)["data"]["role_id"],
        "VAULT_SECRET_ID": role.generate_secret_id(name)["data"]["secret_id"],
    }
