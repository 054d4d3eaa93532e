"""What each target gives a service: all of it is read, and nothing that is needed is missing."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import blueprint as render
from tests.support.render import Tree
from tests.support.runs import with_own_packages
from tests.test_artefacts import COMPOSE_ONLY, TEMPLATE, tree, write

BLUEPRINT = "render.yaml"
COMPOSE = re.compile(r"docker-compose\.yml|docker/compose/.*\.yml|docker/docker-compose\.dev\.yml")

TYPED = {
    "AUTH_PAGES_URL": "https://app.example.com",
    "BYBIT_API_KEY": "",
    "BYBIT_API_SECRET": "",
    "CLERK_AUTHORIZED_PARTIES": "https://app.example.com",
    "CLERK_ISSUER": "https://clerk.example.com",
    "MAIL_FROM": "service@example.com",
    "OIDC_AUDIENCE": "https://api.example.com",
    "OIDC_ISSUER": "https://login.example.com",
    "SMTP_URL": "smtp://user:x9A2pV0q@mail.example.com:587",
    "SUPABASE_URL": "https://abcdefghijklmnopqrst.supabase.co",
    "VAULT_ADDR": "https://vault.example.com:8200",
    "VAULT_ROLE_ID": "6f1c7a52",
    "VAULT_SECRET_ID": "0d9b3e84",
}
"""What a person answers; nothing where the answer may be empty."""

WITHOUT_VAULT = {"VAULT_ENABLED": "false"}
"""Nobody is there to ask, so the environment has to be enough by itself."""

DEPLOYED: Mapping[str, Mapping[str, Any]] = {
    **{name: {"preset": name} for name in TEMPLATE.questions["preset"].choices},
    "two MySQLs, signed in by Clerk": {"database": "mysql", "databases": "dual", "auth": "clerk"},
    "MySQL, tenants signed in by OpenID": {"database": "mysql", "auth": "oidc", "tenancy": True},
    "two SQLites with a worker": {"database": "sqlite", "databases": "dual", "worker": "arq"},
    "tenants in two databases": {"databases": "dual", "auth": "local", "tenancy": True},
}
"""Services that need different settings in production."""

VARIABLE = re.compile(r"^(?:# )?([A-Z][A-Z0-9_]+)=", re.MULTILINE)
SETTING = re.compile(r"^([A-Z][A-Z0-9_]+)=(.*)$", re.MULTILINE)
VAULT_KEEPS = frozenset({"SMTP_URL", "VAULT_ROLE_ID", "VAULT_SECRET_ID"})
"""What nobody writes down for pods: they sign in to Vault by their account, and it has the rest."""

ONLY_KUBERNETES = frozenset({"BACKEND_CORS_ORIGINS", "GATEWAY_UPSTREAMS", "JWT_SECRET"})
"""What a blueprint leaves out, since each has a default that is right for one small service."""

LOAD = """
import json, os, sys
from app.config import Settings
from app.core.settings import load_settings

def refusal(variables):
    os.environ.clear()
    os.environ.update(variables)
    try:
        load_settings(Settings)
    except SystemExit as stopped:
        return str(stopped.code)
    return ""

given = json.load(sys.stdin)
fields = {name.upper(): field.is_required() for name, field in Settings.model_fields.items()}
needed = [name for name, required in fields.items() if required]
spared = [name for each in given for name in needed if not refusal({**each, name: ""})]
json.dump([[refusal(each) for each in given], list(fields), needed, spared], sys.stdout)
"""
"""Reads the settings in several environments; see `Read`."""


@dataclass(frozen=True)
class Read:
    """What came of reading the settings in some environments.

    Attributes:
        said: what each environment is refused for, empty where it is not.
        fields: the settings that there are.
        needed: those without a default.
        spared: those of them that some environment could do without.
    """

    said: Sequence[str]
    fields: frozenset[str]
    needed: frozenset[str]
    spared: frozenset[str]


@pytest.mark.parametrize("name", DEPLOYED)
def test_targets_give_what_is_read_and_all_that_is_needed(name: str, tmp_path: Path) -> None:
    _, files = tree(**{**DEPLOYED[name], "deploy": "render"})
    document = yaml.safe_load(files[BLUEPRINT])
    service = Deployed(files, tmp_path / "service", tmp_path / "master.key")
    parts = of_the_image(document, "web", "worker")
    rendered = [service.environment(part, document) for part in parts]
    composed = containers(files)
    read = service.read(*rendered, composed)
    assert read.said == [""] * len(read.said)
    assert read.needed, "every service needs the address of its database"
    assert not read.spared
    assert composed.keys() - read.fields - COMPOSE_ONLY == set()
    for part, given in zip(parts, rendered, strict=True):
        assert render.asked(part) <= read.fields
        assert render.keys(part, document) - read.fields == service.referred(given)


@pytest.mark.parametrize("name", DEPLOYED)
def test_each_target_asks_for_what_the_other_one_asks_for(name: str) -> None:
    """A value with a default is not missed by the start, but by whoever runs the service."""
    _, files = tree(**{**DEPLOYED[name], "deploy": "render"})
    document = yaml.safe_load(files[BLUEPRINT])
    [web] = of_the_image(document, "web")
    _, files = tree(**{**DEPLOYED[name], "deploy": "kubernetes"})
    paths = ("overlays/production/settings.env", "secrets.env.example")
    written = {
        variable
        for path in paths
        for variable in VARIABLE.findall(files.get(f"deploy/kubernetes/{path}", b"").decode())
    }
    in_vault = VAULT_KEEPS if "VAULT_ADDR" in written else frozenset()
    given = render.asked(web) | render.keys(web, document)
    if "REDIS_ENABLED" in given:  # switched off there
        written.discard("REDIS_URL")
    assert render.asked(web) - written - in_vault == set(), "not asked for on Kubernetes"
    assert written - given - ONLY_KUBERNETES == set(), "not asked for on Render"


@pytest.mark.parametrize("worker", ["taskiq", "arq"])
def test_each_job_of_a_worker_gets_a_connection(worker: str) -> None:
    """And the relay of outboxes gets one, too."""
    given = {"preset": "platform", "worker": worker}
    _, files = tree(**given, deploy="render")
    document = yaml.safe_load(files[BLUEPRINT])
    [part] = of_the_image(document, "worker")
    typed = dict.fromkeys(render.asked(part) | render.keys(part, document), "typed")
    usual = dict(SETTING.findall(files[".env.example"].decode()))
    _, files = tree(**given, deploy="kubernetes")
    base = files["deploy/kubernetes/base/settings.env"].decode()
    targets = {
        "compose": containers(files),
        "kubernetes": dict(SETTING.findall(base)),
        "render": render.environment(part, document, typed),
    }
    for target, said in targets.items():
        found = usual | said
        connections = int(found["DB_POOL_SIZE"]) + int(found["DB_MAX_OVERFLOW"])
        assert int(found["JOBS_AT_ONCE"]) < connections, target


@pytest.mark.parametrize("auth", TEMPLATE.questions["auth"].choices)
def test_each_target_gives_the_frontend_the_same(auth: str) -> None:
    given = {"preset": "platform", "auth": auth}
    _, files = tree(**given, deploy="render")
    document = yaml.safe_load(files[BLUEPRINT])
    [frontend] = [each for each in document["services"] if each["name"].endswith("-frontend")]
    assert files.keys() >= {frontend["dockerfilePath"].removeprefix("./")}
    on_render = render.keys(frontend, document)
    environment = render.environment(frontend, document, dict.fromkeys(on_render, "typed"))
    assert {environment[name] for name in ("API_URL", "FRONTEND_URL")} == {
        render.PROVIDED["RENDER_EXTERNAL_URL"]
    }
    composed = yaml.safe_load(files["docker/compose/frontend.yml"])["services"]["frontend"]
    _, files = tree(**given, deploy="kubernetes")
    written = {"API_URL"}
    for path in ("overlays/production/frontend.env", "frontend-secrets.env.example"):
        text = files.get(f"deploy/kubernetes/{path}", b"").decode()
        written |= set(VARIABLE.findall(text))
    assert on_render == written == composed["environment"].keys()


def of_the_image(document: Mapping[str, Any], *types: str) -> list[Mapping[str, Any]]:
    """Give the services of some types that run the service's own image."""
    own = "./docker/Dockerfile"
    return [each for each in render.services(document, *types) if each.get("dockerfilePath") == own]


def containers(files: Tree) -> dict[str, str]:
    """Give what compose gives the containers of the service's own image, when .env says nothing."""
    slug = yaml.safe_load(files["docker-compose.yml"])["name"]
    given: dict[str, str] = {}
    for path in filter(COMPOSE.fullmatch, files):
        for container in (yaml.safe_load(files[path]).get("services") or {}).values():
            own = str(container.get("image", slug)).partition(":")[0] == slug
            if own and "profiles" not in container:
                given |= container.get("environment") or {}
    return {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in given.items()}


def test_a_name_that_nobody_reads_is_found(tmp_path: Path) -> None:
    _, files = tree(preset="minimal")
    service = Deployed(files, tmp_path / "service", tmp_path / "master.key")
    fields = service.read().fields
    broken = {
        path: content.replace(b"LOG_FORMAT:", b"LOG_FROMAT:") for path, content in files.items()
    }
    assert containers(broken).keys() - fields - COMPOSE_ONLY == {"LOG_FROMAT"}


def test_environment_of_the_trading_system_has_nothing_to_spare(tmp_path: Path) -> None:
    _, files = tree(preset="trading")
    document = yaml.safe_load(files[BLUEPRINT])
    service = Deployed(files, tmp_path / "service", tmp_path / "master.key")
    [web] = render.services(document, "web")
    given = service.environment(web, document)
    names = sorted(given)
    names.remove("ENVIRONMENT")  # without it everything is development
    read = service.read(*({**given, name: ""} for name in names))
    needed = {name for name, line in zip(names, read.said, strict=True) if line}
    assert needed == {
        "ALLOWED_HOSTS",
        "AUTH_ISSUER",
        "AUTH_PAGES_URL",
        "DATABASE_URL_GENERAL",
        "DATABASE_URL_USER",
        "REDIS_URL",
        "RENDER_MASTER_KEY_PATH",
        "SECRET_KEY",
        "SMTP_URL",
    }
    assert render.services(document, "worker")[0]["envVars"] == web["envVars"]


def test_start_names_the_secret_file_that_is_missing(tmp_path: Path) -> None:
    _, files = tree(preset="trading")
    document = yaml.safe_load(files[BLUEPRINT])
    service = Deployed(files, tmp_path / "service", tmp_path / "master.key")
    given = service.environment(document["services"][0], document)
    assert not Path("/etc/secrets/master.key").exists()
    read = service.read({**given, "RENDER_MASTER_KEY_PATH": "/etc/secrets/master.key"})
    [line] = read.said[0].splitlines()
    guide = files["deploy/render/README.md"].decode()
    [shown] = re.findall(r"^ +(configuration: RENDER_MASTER_KEY_PATH .*)$", guide, re.MULTILINE)
    assert line.startswith(shown)


class Deployed:
    """A rendered service, whose settings are read as on Render.

    Args:
        files: the service.
        directory: where it is written to.
        master_key: where the secret file is made.
    """

    def __init__(self, files: Tree, directory: Path, master_key: Path) -> None:
        self.directory = directory
        write(directory, files)
        self.master_key = master_key
        master_key.write_text(render.GENERATED + "\n")
        master_key.chmod(0o640)

    def environment(
        self, service: Mapping[str, Any], document: Mapping[str, Any]
    ) -> dict[str, str]:
        """Give the environment of a service on Render, with the secret file somewhere else."""
        given = render.environment(service, document, TYPED)
        moved = {"RENDER_MASTER_KEY_PATH": str(self.master_key)}
        return given | {
            name: value for name, value in (moved | WITHOUT_VAULT).items() if name in given
        }

    def read(self, *environments: Mapping[str, str]) -> Read:
        """Read the settings in each environment."""
        loaded = subprocess.run(
            [sys.executable, "-c", LOAD],
            cwd=self.directory,
            env=with_own_packages(self.directory, os.environ),
            input=json.dumps(environments),
            capture_output=True,
            text=True,
            check=True,
        )
        said, fields, needed, spared = json.loads(loaded.stdout)
        return Read(said, frozenset(fields), frozenset(needed), frozenset(spared))

    @staticmethod
    def referred(given: Mapping[str, str]) -> set[str]:
        """Give the variables that addresses name."""
        addresses = (value for name, value in given.items() if name.startswith("DATABASE_URL"))
        return {name for value in addresses for name in re.findall(r"\$\{(\w+)\}", value)}
