"""deploy/vault on a real server: it works, and it allows nothing more."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import hvac
import pytest

from app.config import Settings
from app.core.database.layout import DATABASES
from app.core.development import vault as development
from app.core.secrets.vault.place import DEFAULT_MOUNT, DEFAULT_PATH
from app.core.settings import load_settings
from tests.core.migrating import as_environment
from tests.core.plugin import Addresses
from tests.core.vault.servers import POLICIES, Place, Vault, new_place, vault_program

Ask = Callable[[hvac.Client, str], Any]


def kv(client: hvac.Client) -> Any:
    return client.secrets.kv.v2


OWN_POLICIES = sorted(path.stem for path in POLICIES.glob("*.hcl"))

FORBIDDEN_TO_EACH: dict[str, Ask] = {
    "read another service's secrets": lambda client, _: client.read("secret/data/other"),
    "read what starts alike": lambda client, own: client.read(f"secret/data/{own}-2"),
    "list everything": lambda client, _: client.list("secret/metadata"),
    "read what others see in metadata": lambda client, own: client.read(f"secret/metadata/{own}"),
    "remove": lambda client, own: kv(client).delete_latest_version_of_secret(own),
    "destroy": lambda client, own: kv(client).destroy_secret_versions(own, [1]),
    "remove all versions": lambda client, own: kv(client).delete_metadata_and_all_versions(own),
    "write elsewhere": lambda client, own: client.write_data(
        f"secret/data/{own}/new", data={"data": {}}
    ),
    "make a token": lambda client, _: client.auth.token.create(),
    "read policies": lambda client, _: client.sys.list_policies(),
    "change its policy": lambda client, own: client.sys.create_or_update_policy(own, ""),
    "seal": lambda client, _: client.sys.seal(),
    "get another secret id": lambda client, own: client.auth.approle.generate_secret_id(own),
}


def logged_in(place: Place) -> hvac.Client:
    client = hvac.Client(url=place.vault.address, token="")
    role = place.variables["VAULT_ROLE_ID"], place.variables["VAULT_SECRET_ID"]
    client.auth.approle.login(*role)
    return client


@pytest.mark.parametrize("ask", FORBIDDEN_TO_EACH.values(), ids=FORBIDDEN_TO_EACH.keys())
@pytest.mark.parametrize("policy", OWN_POLICIES)
def test_nothing_more_is_allowed(vault: Vault, policy: str, ask: Ask) -> None:
    place = new_place(vault, policy=policy)
    place.write(SECRET_KEY="x")  # noqa: S106
    with pytest.raises(hvac.exceptions.Forbidden):
        ask(logged_in(place), place.path)


@pytest.mark.parametrize("policy", OWN_POLICIES)
def test_everybody_reads_and_the_rotation_alone_writes(vault: Vault, policy: str) -> None:
    place = new_place(vault, policy=policy)
    place.write(SECRET_KEY="x")  # noqa: S106
    client = logged_in(place)
    found = kv(client).read_secret_version(place.path, raise_on_deleted_version=True)
    assert found["data"]["data"] == {"SECRET_KEY": "x"}
    client.auth.token.renew_self()
    refusal = nullcontext() if policy == "rotation" else pytest.raises(hvac.exceptions.Forbidden)
    with refusal:
        kv(client).create_or_update_secret(place.path, {"SECRET_KEY": "y"}, cas=1)


def test_the_script_prepares_a_server_for_the_service(
    vault: Vault, addresses: Addresses, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "vault").symlink_to(vault_program())
    variables = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "VAULT_ADDR": vault.address,
        "VAULT_TOKEN": vault.token,
        "HOME": str(tmp_path),
    }
    for _ in range(2):
        subprocess.run(  # noqa: S603
            ["/bin/sh", str(POLICIES / "setup.sh")],
            env=variables,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    root, approle = vault.root, vault.root.auth.approle
    kv(root).create_or_update_secret(DEFAULT_PATH, as_environment(addresses))
    monkeypatch.setenv("VAULT_ADDR", vault.address)
    monkeypatch.setenv("VAULT_ROLE_ID", approle.read_role_id(DEFAULT_PATH)["data"]["role_id"])
    made = approle.generate_secret_id(DEFAULT_PATH)["data"]["secret_id"]
    monkeypatch.setenv("VAULT_SECRET_ID", made)
    assert set(addresses) <= load_settings(Settings).from_store
    roles = {
        DEFAULT_PATH if name == "service" else f"{DEFAULT_PATH}-{name}" for name in OWN_POLICIES
    }
    for role in roles:
        assert approle.read_role(role)["data"]["token_policies"] == [role]


def seed(**variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "app.core.development.vault"],
        env={**os.environ, **variables},
        check=False,
        capture_output=True,
        text=True,
    )


def test_development_secrets_are_written_once(vault: Vault, addresses: Addresses) -> None:
    path = new_place(vault).path
    own = {"VAULT_ADDR": vault.address, "VAULT_TOKEN": vault.token, "VAULT_PATH": path}
    own |= {"ENVIRONMENT": "development", **as_environment(addresses)}
    main = [database.variable.upper() for database in DATABASES]
    names = ", ".join(sorted(["SECRET_KEY", "JWT_SECRET", *main]))
    first, second = seed(**own), seed(**own)
    assert (first.stdout, first.stderr) == (f"{DEFAULT_MOUNT}/{path}: {names}\n", "")
    assert second.stdout == f"{DEFAULT_MOUNT}/{path}: nothing was missing\n"
    found = kv(vault.root).read_secret_version(path, raise_on_deleted_version=True)["data"]
    assert found["metadata"]["version"] == 1
    assert not [value for value in found["data"].values() if value in first.stdout]


@pytest.mark.parametrize("environment", ["test", "staging"])
def test_development_secrets_are_for_development(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    path = new_place(vault).path
    variables = {"ENVIRONMENT": environment, "VAULT_ADDR": vault.address, "VAULT_PATH": path}
    variables |= {"VAULT_TOKEN": vault.token, "SECRET_KEY": "for-tests-only"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=f"for development only, not for {environment}"):
        development.main()
    with pytest.raises(hvac.exceptions.InvalidPath):
        kv(vault.root).read_secret_version(path, raise_on_deleted_version=True)
