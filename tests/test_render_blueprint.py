"""Render's blueprint: accepted by Render's schema, whole in itself, and enough for production."""

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import blueprint as render
from tests.support.render import Tree
from tests.support.runs import with_own_packages
from tests.support.template import ROOT, Answers
from tests.test_artefacts import TEMPLATE, TOOLS, distinct, tree, write

PATH = "render.yaml"
SCHEMA = ROOT.parent / "shared/schemas/render.yaml.json"
"""Render's own, for tests: Render publishes no licence for it, so it is not in this repository."""

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

LOAD = """
import json, os, sys
from app.config import Settings
from app.core.settings import load_settings

said = []
for variables in json.load(sys.stdin):
    os.environ.clear()
    os.environ.update(variables)
    try:
        load_settings(Settings)
        said.append("")
    except SystemExit as stopped:
        said.append(str(stopped.code))
json.dump({"said": said, "fields": [name.upper() for name in Settings.model_fields]}, sys.stdout)
"""


@cache
def documents() -> list[tuple[Answers, bytes, dict[str, Any]]]:
    """Give every distinct blueprint, with answers that give it."""
    return [
        (answers, contents[PATH], yaml.load(contents[PATH], yaml.CSafeLoader))
        for answers, contents in distinct(PATH)
    ]


def parts(blueprint: Mapping[str, Any]) -> Iterator[str]:
    """Take a blueprint apart as far as its schema does."""
    for kind in ("services", "databases", "envVarGroups"):
        for part in blueprint.get(kind, ()):
            yield json.dumps({**part, "envVars": []})
            yield from (json.dumps(entry) for entry in part.get("envVars", ()))


def judge(*files: Path) -> subprocess.CompletedProcess[str]:
    """Ask Render's schema."""
    if not SCHEMA.exists():
        pytest.skip("no copy of Render's schema: render.yaml is checked by our own rules only")
    command = [str(TOOLS / "check-jsonschema"), "--schemafile", str(SCHEMA), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_schema_accepts_all_that_a_blueprint_can_say(tmp_path: Path) -> None:
    # Entries are judged each for itself, so documents in which each occurs stand for all.
    seen: set[str] = set()
    files = []
    for number, (_, content, document) in enumerate(documents()):
        if not seen.issuperset(parts(document)):
            seen.update(parts(document))
            files += write(tmp_path / str(number), {PATH: content})
    judged = judge(*files)
    assert judged.returncode == 0, judged.stdout + judged.stderr


@pytest.mark.parametrize(
    ("sound", "fault"),
    [
        ("    plan: starter", "    plan: huge"),
        ('postgresMajorVersion: "18"', "postgresMajorVersion: 18"),
        ("    # Reached from this workspace only.\n    ipAllowList: []\n\n", ""),
        ("maxShutdownDelaySeconds: 45", "maxShutdownDelaySeconds: 900"),
        ("    healthCheckPath:", "    secretFiles: [master.key]\n    healthCheckPath:"),
    ],
    ids=["plan", "version", "open-redis", "shutdown", "secret-files"],
)
def test_schema_rejects_a_fault(sound: str, fault: str, tmp_path: Path) -> None:
    _, files = tree(preset="trading")
    text = files[PATH].decode()
    assert sound in text, f"the sample has no {sound!r} to break"
    [file] = write(tmp_path, {PATH: text.replace(sound, fault).encode()})
    assert judge(file).returncode != 0


def test_nothing_leads_nowhere() -> None:
    found = {fault for _, _, document in documents() for fault in render.faults(document)}
    assert not found
    assert len(documents()) > 1000


Break = Callable[[dict[str, Any]], object]


def entry(document: dict[str, Any], service: int, key: str) -> dict[str, Any]:
    """Find an entry of a service's environment."""
    found: dict[str, Any] = next(
        each for each in document["services"][service]["envVars"] if each.get("key") == key
    )
    return found


BREAKS: Mapping[str, tuple[Break, str]] = {
    "database": (
        lambda it: entry(it, 0, "DATABASE_URL_USER")["fromDatabase"].update(name="other"),
        "there is no database other",
    ),
    "property of a database": (
        lambda it: entry(it, 0, "DATABASE_URL_USER")["fromDatabase"].update(property="url"),
        "a database has no url",
    ),
    "service": (
        lambda it: entry(it, 0, "REDIS_URL")["fromService"].update(name="other"),
        "there is no keyvalue other",
    ),
    "type of a service": (
        lambda it: entry(it, 0, "REDIS_URL")["fromService"].update(type="pserv"),
        "there is no pserv my-service-redis",
    ),
    "property of a service": (
        lambda it: entry(it, 0, "REDIS_URL")["fromService"].update(property="hostport"),
        "a keyvalue has no hostport",
    ),
    "variable of a service": (
        lambda it: entry(it, 0, "ALLOWED_HOSTS")["fromService"].update(envVarKey="HOSTNAMES"),
        "my-service has no HOSTNAMES",
    ),
    "both of a service": (
        lambda it: entry(it, 0, "ALLOWED_HOSTS")["fromService"].update(property="host"),
        "not for both",
    ),
    "group": (
        lambda it: it["services"][0]["envVars"][0].update(fromGroup="other"),
        "there is no group other",
    ),
    "question within a group": (
        lambda it: it["envVarGroups"][0]["envVars"].append({"key": "X", "sync": False}),
        "Render ignores X",
    ),
    "no value": (lambda it: entry(it, 0, "SMTP_URL").pop("sync"), "SMTP_URL gets no value"),
    "two values": (
        lambda it: it["services"][0]["envVars"].append({"key": "SMTP_URL", "sync": False}),
        "SMTP_URL is given twice",
    ),
    "two services of one name": (
        lambda it: it["services"][1].update(name="my-service"),
        "services has my-service twice",
    ),
    "region": (lambda it: it["databases"][0].update(region="ohio"), "in several regions"),
    "disk of several": (
        lambda it: it["services"][0].update(disk={"name": "x", "mountPath": "/x"}),
        "can be one instance only",
    ),
    "disk before the deploy": (
        lambda it: it["services"][0].update(disk={"name": "x", "mountPath": "/x"}),
        "no command before the deploy sees the disk",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_rules_reject_a_fault(name: str) -> None:
    _, files = tree(preset="trading")
    document = yaml.safe_load(files[PATH])
    # An alias gives the same list twice: broken in one service it would be in the other one, too.
    document["services"] = [copy.deepcopy(each) for each in document["services"]]
    change, said = BREAKS[name]
    assert not list(render.faults(document))
    change(document)
    assert any(said in fault for fault in render.faults(document))


@pytest.mark.parametrize("name", DEPLOYED)
def test_environment_is_enough_for_production_and_all_of_it_is_read(
    name: str, tmp_path: Path
) -> None:
    _, files = tree(**{**DEPLOYED[name], "deploy": "render"})
    document = yaml.safe_load(files[PATH])
    service = Deployed(files, tmp_path / "service", tmp_path / "master.key")
    for each in render.services(document, "web", "worker"):
        given = service.environment(each, document)
        [said], fields = service.load(given)
        assert not said, each["name"]
        assert "SECRET_KEY" in fields
        assert render.asked(each) <= fields
        assert render.keys(each, document) - fields == service.referred(given)


def test_environment_of_the_trading_system_has_nothing_to_spare(tmp_path: Path) -> None:
    _, files = tree(preset="trading")
    document = yaml.safe_load(files[PATH])
    service = Deployed(files, tmp_path / "service", tmp_path / "master.key")
    [web] = render.services(document, "web")
    given = service.environment(web, document)
    names = sorted(given)
    said, _ = service.load(*({**given, name: ""} for name in names if name != "ENVIRONMENT"))
    names.remove("ENVIRONMENT")
    needed = {name for name, line in zip(names, said, strict=True) if line}
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
    document = yaml.safe_load(files[PATH])
    service = Deployed(files, tmp_path / "service", tmp_path / "master.key")
    given = service.environment(document["services"][0], document)
    assert not Path("/etc/secrets/master.key").exists()
    [said], _ = service.load({**given, "RENDER_MASTER_KEY_PATH": "/etc/secrets/master.key"})
    [line] = said.splitlines()
    guide = files["deploy/render/README.md"].decode()
    [shown] = re.findall(r"^ +(configuration: RENDER_MASTER_KEY_PATH .*)$", guide, re.MULTILINE)
    assert line.startswith(shown)


def test_image_and_blueprint_have_the_same_versions() -> None:
    _, files = tree(deploy="render")
    compose = "".join(files[path].decode() for path in files if "compose" in path)
    [version] = set(re.findall(r"image: postgres:(\d+)", compose))
    assert yaml.safe_load(files[PATH])["databases"][0]["postgresMajorVersion"] == version
    _, files = tree(deploy="render", database="mysql")
    compose = "".join(files[path].decode() for path in files if "compose" in path)
    [image] = set(re.findall(r"image: (mariadb:\S+)", compose))
    [database] = render.services(yaml.safe_load(files[PATH]), "pserv")
    assert database["image"]["url"] == f"docker.io/library/{image}"


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

    def load(self, *environments: Mapping[str, str]) -> tuple[list[str], set[str]]:
        """Read the settings; what each environment is refused for, and the settings there are."""
        loaded = subprocess.run(
            [sys.executable, "-c", LOAD],
            cwd=self.directory,
            env=with_own_packages(self.directory, os.environ),
            input=json.dumps(environments),
            capture_output=True,
            text=True,
            check=True,
        )
        result = json.loads(loaded.stdout)
        return result["said"], set(result["fields"])

    @staticmethod
    def referred(given: Mapping[str, str]) -> set[str]:
        """Give the variables that addresses name."""
        addresses = (value for name, value in given.items() if name.startswith("DATABASE_URL"))
        return {name for value in addresses for name in re.findall(r"\$\{(\w+)\}", value)}
