"""Render's blueprint: accepted by Render's schema, and whole in itself.

That its settings are enough for production is in `test_environment.py`.
"""

import copy
import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import blueprint as render
from tests.support.template import ROOT, Answers
from tests.test_artefacts import TOOLS, distinct, tree, write

PATH = "render.yaml"
SCHEMA = ROOT.parent / "shared/schemas/render.yaml.json"
"""Render's own, for tests: Render publishes no licence for it, so it is not in this repository."""


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
