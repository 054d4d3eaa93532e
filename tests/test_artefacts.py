"""Container, pipeline and editor files: every content that any answers give, by its real validator.

Each validator is also given a fault that it must reject: several tools of this kind exit with 0
whatever they are shown.
"""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.contents import Contents
from tests.support.gitlab import resolved
from tests.support.matrix import Matrix
from tests.support.render import Renderer, Tree
from tests.support.template import ROOT, Answers, Template
from tools.matrix import SETS

TEMPLATE = Template()
MATRIX = Matrix(TEMPLATE)
RENDERER = Renderer(TEMPLATE)
CONTENTS = Contents(MATRIX, RENDERER)
TOOLS = Path(sys.executable).parent
"""Where the validators are installed: beside the interpreter that runs this."""

DOCKERFILES = ("docker/Dockerfile", "docker/Dockerfile.dev")
COMPOSE = ("docker-compose.yml", "docker-compose.override.yml")
COMPOSE_DEVELOPMENT = "docker/docker-compose.dev.yml"
COMPOSE_PARTS = tuple(sorted(name for name in RENDERER.sources if "docker/compose/" in name))
ALL_COMPOSE = (*COMPOSE, COMPOSE_DEVELOPMENT, *COMPOSE_PARTS)
CONTAINERS = "docker/README.md"
"""Lists what only Compose reads."""

COMPOSE_SERVICE = "docker/compose/service.yml"
"""What all containers of the service's image have in common; `COMPOSE[0]` includes the others."""
WORKFLOW = ".github/workflows/main.yml"
WORKFLOWS = (
    WORKFLOW,
    ".github/workflows/security.yml",
    ".github/workflows/template-update.yml",
    ".github/workflows/deploy-kubernetes.yml",
    ".github/workflows/deploy-render.yml",
)
DEPENDABOT = ".github/dependabot.yml"
PIPELINE = ".gitlab-ci.yml"
VAULT_SCRIPT = "deploy/vault/setup.sh"
HOOKS = ".pre-commit-config.yaml"

HOOKS_OF_THE_SERVICE = {"mypy", "migrations"}
"""Hooks that need the service's own environment: `make typecheck` and `make lint`."""

PASSWORDS_OF_COMPOSE = {
    "GRAFANA_PASSWORD",
    "MARIADB_PASSWORD",
    "MARIADB_ROOT_PASSWORD",
    "POSTGRES_PASSWORD",
    "REDIS_PASSWORD",
    "SERVICE_DATABASE_PASSWORD",
    "VAULT_DEV_TOKEN",
}
COMPOSE_ONLY = {"WATCHFILES_FORCE_POLLING", "TEST_DATABASE_URL", *PASSWORDS_OF_COMPOSE}
"""Environment of the containers that other programs than the service read."""

UNSAFE_WORKFLOW = b"""\
on: push
jobs:
  one:
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/checkout@v7
"""


@dataclass(frozen=True)
class Validator:
    """A tool that judges rendered files.

    Attributes:
        name: what the test is called.
        command: the files are appended; a name without a slash is looked up beside Python first.
        paths: the rendered files that it judges.
        fault: in each of `paths`, the second text in the place of the first must be rejected.
    """

    name: str
    command: tuple[str, ...]
    paths: tuple[str, ...]
    fault: tuple[str, str]

    def judge(self, files: Iterable[Path]) -> subprocess.CompletedProcess[str]:
        """Run the tool over some files."""
        environment = {**os.environ, "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"}
        return subprocess.run(
            [*self.command, *map(str, files)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )


VALIDATORS = (
    Validator("hadolint", ("hadolint",), DOCKERFILES, ("USER 10001", "USER root")),
    Validator(
        "compose-schema",
        ("check-jsonschema", "--builtin-schema", "vendor.compose-spec"),
        (*COMPOSE_PARTS, COMPOSE_DEVELOPMENT),
        ("services:", "servces:"),
    ),
    Validator(
        "compose-list-schema",
        ("check-jsonschema", "--builtin-schema", "vendor.compose-spec"),
        COMPOSE[:1],
        ("include:", "includes:"),
    ),
    Validator(
        "workflow-schema",
        ("check-jsonschema", "--builtin-schema", "vendor.github-workflows"),
        WORKFLOWS,
        ("runs-on:", "run-on:"),
    ),
    Validator(
        "workflow-time-limits",
        ("check-jsonschema", "--builtin-schema", "custom.github-workflows-require-timeout"),
        WORKFLOWS,
        ("    timeout-minutes:", "    timeout:"),
    ),
    Validator("actionlint", ("actionlint",), WORKFLOWS, ("github.workflow ", "github.wrkflow ")),
    Validator(
        "actionlint-shell", ("actionlint",), (WORKFLOW,), ('"http://127.0.0.1:$API_PORT"', "$API")
    ),
    Validator(
        "zizmor",
        ("zizmor", "--offline", "--quiet"),
        WORKFLOWS,
        ("@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7"),
    ),
    Validator(
        "dependabot-schema",
        ("check-jsonschema", "--builtin-schema", "vendor.dependabot"),
        (DEPENDABOT,),
        ("interval: weekly", "interval: sometimes"),
    ),
    Validator(
        "zizmor-dependabot",
        ("zizmor", "--offline", "--quiet"),
        (DEPENDABOT,),
        ("    cooldown:\n      default-days: 7\n", ""),
    ),
    Validator(
        "pipeline-schema",
        (
            "check-jsonschema",
            *("--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"),
        ),
        (PIPELINE,),
        ("  script:", "  skript:"),
    ),
    Validator(
        "shellcheck", ("shellcheck",), (VAULT_SCRIPT,), ('"$(dirname "$0")"', "$(dirname $0)")
    ),
    Validator(
        "shellcheck-deploy",
        ("shellcheck",),
        ("deploy/kubernetes/deploy.sh",),
        ('"$overlays/$overlay/kustomization.yaml"', "$overlays/$overlay/kustomization.yaml"),
    ),
    Validator(
        "shellcheck-roll-back",
        ("shellcheck",),
        ("deploy/kubernetes/roll-back.sh",),
        ('undo "$deployment"', "undo $deployment"),
    ),
    Validator(
        "shellcheck-kubeconfig",
        ("shellcheck",),
        ("deploy/kubernetes/namespaces/kubeconfig.sh",),
        ('"$(dirname "$0")/$environment"', "$(dirname $0)/$environment"),
    ),
    Validator(
        "pre-commit", ("pre-commit", "validate-config"), (HOOKS,), ("repo: local", "repos: local")
    ),
)


def distinct(*paths: str) -> Iterator[tuple[Answers, dict[str, bytes]]]:
    """Give every distinct content of these files together, with answers that give it."""
    seen = set()
    for answers in CONTENTS.combinations(*paths):
        excluded = RENDERER.excluded(answers)
        contents = {path: RENDERER.content(path, answers) for path in paths if not excluded(path)}
        if contents and (key := tuple(contents.items())) not in seen:
            seen.add(key)
            yield answers, contents


def write(directory: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write files below a directory, at their places in a service."""
    files = []
    for path, content in contents.items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        files.append(file)
    return files


def tree(**given: Any) -> tuple[Answers, Tree]:
    """Render a service in memory."""
    answers = MATRIX.resolver.resolve(given)
    return answers, RENDERER.tree(answers)


@pytest.mark.parametrize("validator", VALIDATORS, ids=lambda validator: validator.name)
def test_validator_accepts_every_content(validator: Validator, tmp_path: Path) -> None:
    files = [
        file
        for path in validator.paths
        for number, (_, contents) in enumerate(distinct(path))
        for file in write(tmp_path / str(number), contents)
    ]
    assert len(files) >= len(validator.paths)
    judged = validator.judge(files)
    assert judged.returncode == 0, judged.stdout + judged.stderr


@pytest.mark.parametrize(
    ("validator", "path"),
    [(validator, path) for validator in VALIDATORS for path in validator.paths],
    ids=lambda value: value.name if isinstance(value, Validator) else value,
)
def test_validator_rejects_a_fault(validator: Validator, path: str, tmp_path: Path) -> None:
    sound, fault = validator.fault
    _, contents = next(distinct(path))
    assert sound.encode() in contents[path], f"the sample has no {sound!r} to break"
    broken = contents[path].replace(sound.encode(), fault.encode())
    judged = validator.judge(write(tmp_path, {path: broken}))
    assert judged.returncode != 0, f"accepted {fault!r} in the place of {sound!r}"


@pytest.mark.parametrize(
    "validator",
    [validator for validator in VALIDATORS if WORKFLOW in validator.paths],
    ids=lambda validator: validator.name,
)
def test_validator_accepts_our_own_workflows(validator: Validator) -> None:
    judged = validator.judge(sorted((ROOT / ".github/workflows").glob("*.yml")))
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_our_own_workflow_runs_every_database() -> None:
    rows = _strategy("ci")["include"]
    assert [row["database"] for row in rows] == list(TEMPLATE.questions["database"].choices)


def test_our_own_workflow_runs_every_set_of_the_report() -> None:
    strategy = _strategy("matrix")
    axes = {row["set"]: row["axes"] for row in strategy["include"] if "set" in row}
    assert strategy["database"] == list(TEMPLATE.questions["database"].choices)
    assert strategy["set"] == list(axes)
    assert set(axes.values()) == {each for each in SETS.values() if each}


def _strategy(workflow: str) -> dict[str, Any]:
    """Give the combinations for which a workflow runs services."""
    text = (ROOT / f".github/workflows/{workflow}.yml").read_text("utf-8")
    strategy: dict[str, Any] = yaml.safe_load(text)["jobs"]["services"]["strategy"]["matrix"]
    return strategy


@pytest.mark.parametrize("development", [False, True], ids=["production", "development"])
def test_compose_resolves_every_content(development: bool, tmp_path: Path) -> None:
    chosen = (*COMPOSE, COMPOSE_DEVELOPMENT) if development else COMPOSE
    # All others are shown without it already.
    shown = (COMPOSE_DEVELOPMENT,) if development else (*chosen, *COMPOSE_PARTS)
    refused = {}
    for number, (answers, contents) in enumerate(showing_each(*chosen, *COMPOSE_PARTS, of=shown)):
        judged = resolve_compose(write_compose(tmp_path / str(number), contents, chosen))
        if judged.returncode != 0 or f"name: {answers['project_slug']}" not in unquoted(judged):
            refused[number] = judged.stdout + judged.stderr
    assert not refused


def showing_each(*paths: str, of: Collection[str]) -> Iterator[tuple[Answers, dict[str, bytes]]]:
    """Give few sets of these files in which each content of some of them occurs."""
    sets = list(distinct(*paths))
    unseen = {item for _, contents in sets for item in contents.items() if item[0] in of}
    while unseen:
        answers, contents = max(sets, key=lambda each: len(unseen & each[1].items()))
        unseen -= contents.items()
        yield answers, contents


def write_compose(
    directory: Path, contents: Mapping[str, bytes], chosen: tuple[str, ...] = COMPOSE
) -> list[Path]:
    """Write Compose files, and give those that are named to Compose."""
    write(directory, contents)
    return [directory / path for path in chosen]


def test_compose_rejects_a_fault(tmp_path: Path) -> None:
    path = "docker/compose/api.yml"
    _, contents = next(distinct(*COMPOSE, *COMPOSE_PARTS))
    fault = contents[path].replace(b"service_completed_successfully", b"service_done")
    assert resolve_compose(write_compose(tmp_path, {**contents, path: fault})).returncode != 0


def test_compose_lets_the_user_change_what_is_included(tmp_path: Path) -> None:
    answers, files = tree(worker="taskiq")
    changed = b"""\
services:
  worker:
    environment:
      LOG_LEVEL: DEBUG
  database:
    image: postgres:17
    ports: !reset []
  mine:
    image: mine
    networks: [back]
"""
    given = {path: files[path] for path in (*COMPOSE, *COMPOSE_PARTS) if path in files}
    files_given = write_compose(tmp_path, {**given, COMPOSE[1]: changed, ".env": b"DEBUG=true\n"})
    services = yaml.safe_load(resolve_compose(files_given).stdout)["services"]
    assert services["worker"]["environment"].items() >= {
        ("DEBUG", "true"),
        ("LOG_LEVEL", "DEBUG"),
        ("REDIS_URL", "redis://:development@redis:6379/0"),
    }
    assert services["worker"]["image"] == f"{answers['project_slug']}:local"
    assert services["database"]["image"] == "postgres:17"
    assert "ports" not in services["database"]
    assert services["mine"]["networks"].keys() == {"back"}


def test_services_on_one_machine_are_watched_on_networks_of_their_own(tmp_path: Path) -> None:
    """With the usual ports, too; Compose gives the network that the service is told of."""
    subnets = []
    for name in ("Orders", "Payments", "My Service", "Gateway", "Notes"):
        _, files = tree(project_name=name, monitoring=True)
        given = {path: files[path] for path in (*COMPOSE, *COMPOSE_PARTS) if path in files}
        model = yaml.safe_load(resolve_compose(write_compose(tmp_path / name, given)).stdout)
        [network] = model["networks"]["watching"]["ipam"]["config"]
        internal = model["services"]["api"]["environment"]["INTERNAL_NETWORKS"].split(",")
        assert internal[-1] == network["subnet"]
        subnets.append(IPv4Network(network["subnet"]))
    assert len(set(subnets)) == len(subnets)
    assert {subnet.prefixlen for subnet in subnets} == {24}
    assert all(subnet.subnet_of(IPv4Network("10.64.0.0/11")) for subnet in subnets)


@pytest.mark.parametrize(
    "given",
    [
        {"tenancy": True, "auth": "local", "worker": "taskiq", "monitoring": True, "vault": True},
        {"tenancy": True, "auth": "local", "databases": "dual", "worker": "taskiq"},
        {"database": "mysql", "worker": "taskiq"},
    ],
    ids=["row security", "two databases", "mysql"],
)
def test_service_is_not_told_the_passwords_of_others(given: Answers, tmp_path: Path) -> None:
    _, files = tree(**given)
    others = {
        name: f"{name.lower().replace('_', '')}0"
        for name in re.findall(
            r"MIGRATION_DATABASE_URL\w*|(?<=\$\{)\w+_PASSWORD|VAULT_DEV_TOKEN",
            "".join(files[path].decode() for path in (*COMPOSE, *COMPOSE_PARTS) if path in files),
        )
    }
    assert {name for name in others if "MIGRATION" not in name} <= PASSWORDS_OF_COMPOSE
    contents = {path: files[path] for path in (*COMPOSE, *COMPOSE_PARTS) if path in files}
    lines = "".join(f"{name}={value}\n" for name, value in others.items())
    chosen = write_compose(tmp_path, {**contents, ".env": lines.encode()})
    services = yaml.safe_load(resolve_compose(chosen).stdout)["services"]
    for name in ("api", "worker"):
        environment = services[name]["environment"]
        assert not {each for each in others if environment.get(each)}, name
        addresses = [value for key, value in environment.items() if key.startswith("DATABASE_URL")]
        assert addresses
        owner = others.get("SERVICE_DATABASE_PASSWORD") and others["POSTGRES_PASSWORD"]
        assert not owner or owner not in " ".join(addresses), name


def test_what_watches_has_a_network_of_its_own() -> None:
    _, files = tree(monitoring=True, worker="taskiq")
    services = yaml.safe_load(files["docker/compose/monitoring.yml"])["services"]
    watching = {name: set(each["networks"]) for name, each in services.items() if "image" in each}
    assert watching.pop("prometheus") == {"monitoring", "watching"}
    assert watching.keys() == {"alertmanager", "grafana", "loki", "vector"}
    assert all(networks == {"monitoring"} for networks in watching.values())


def test_every_password_of_compose_is_to_be_chosen() -> None:
    """The checklist sends to the list of them."""
    for given in ({"tenancy": True, "auth": "local", "vault": True}, {"database": "mysql"}):
        _, files = tree(**given, monitoring=True, worker="taskiq")
        assert f"(../{CONTAINERS})" in files["deploy/production-checklist.md"].decode()
        told = re.findall(
            r"^\| `(\w+)` \| `development` ", files[CONTAINERS].decode(), re.MULTILINE
        )
        service = yaml.safe_load(files[COMPOSE_SERVICE])["services"]["service"]
        wanted = PASSWORDS_OF_COMPOSE & service["environment"].keys()
        assert wanted == set(told)


def resolve_compose(files: list[Path]) -> subprocess.CompletedProcess[str]:
    """Let Compose merge files and check the result; needs its client, but no engine."""
    program = compose()
    if program is None:
        pytest.skip("no docker compose: compose files are checked against their schema only")
    chosen = [argument for file in files for argument in ("--file", str(file))]
    directory = str(files[0].parent)
    everything = ["--profile", "*", "--project-directory", directory]
    return subprocess.run(
        [program, *everything, *chosen, "config"],
        capture_output=True,
        text=True,
        check=False,
    )


@cache
def compose() -> str | None:
    """Find the program that `docker compose` starts: by itself it is twice as fast."""
    if not shutil.which("docker"):
        return None
    asked = subprocess.run(
        ["docker", "info", "--format", "{{json .ClientInfo.Plugins}}"],
        capture_output=True,
        check=False,
    )
    plugins = json.loads(asked.stdout or "null") or []
    return next((str(each["Path"]) for each in plugins if each["Name"] == "compose"), None)


def unquoted(process: subprocess.CompletedProcess[str]) -> str:
    """Drop the quotes that Compose sets around words that YAML would read otherwise."""
    return process.stdout.replace('"', "").replace("'", "")


@pytest.mark.parametrize("databases", TEMPLATE.questions["databases"].choices)
@pytest.mark.parametrize("database", TEMPLATE.questions["database"].choices)
def test_containers_get_only_environment_that_is_read(database: str, databases: str) -> None:
    _, files = tree(database=database, databases=databases)
    documented = set(
        re.findall(r"^#? ?([A-Z0-9_]+)=", files[".env.example"].decode(), re.MULTILINE)
    )
    given = {
        name
        for path in (COMPOSE_SERVICE, "docker/compose/api.yml", COMPOSE_DEVELOPMENT)
        for service in ("service", "api", "migrate")
        for name in yaml.safe_load(files[path])["services"].get(service, {}).get("environment", {})
    }
    assert "ENVIRONMENT" in given
    assert {name for name in documented if name.startswith("DATABASE_URL")} <= given
    assert given - documented - COMPOSE_ONLY == set()


def read_by_compose(files: Mapping[str, bytes]) -> dict[str, str]:
    """Give the variables that Compose and its files read, with their defaults."""
    text = "".join(files[path].decode() for path in ALL_COMPOSE if path in files)
    project = str(yaml.safe_load(files[COMPOSE[0]])["name"])
    read = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    # One that is another's value unless it is set, be it empty.
    read |= re.findall(r"\$\{(\w+)-\$\{(\w+):-", text)
    return read | {"COMPOSE_PROJECT_NAME": project}


def compose_faults(files: Mapping[str, bytes]) -> Iterator[str]:
    """Say which variables of Compose are listed nowhere, twice, in vain or with other defaults."""
    read = read_by_compose(files)
    example = files[".env.example"].decode()
    of_the_service = set(re.findall(r"^#? ?(\w+)=", example, re.MULTILINE))
    rows = re.findall(
        r"^\| `(\w+)` \| (?:`(.*?)` )?\| \S", files[CONTAINERS].decode(), re.MULTILINE
    )
    for name, default in rows:
        if name in of_the_service or name not in read:
            yield f"{name} stands in {CONTAINERS} in vain"
        elif read[name] != default:
            yield f"{name} is {read[name]}, not {default}"
    for name in read.keys() - of_the_service - {name for name, _ in rows}:
        yield f"{name} is listed nowhere"
    for name, value in re.findall(r"^(\w+)=(.+)$", example, re.MULTILINE):
        if read.get(name, value) != value:
            yield f"{name} is {value}, not {read[name]}, where .env.example was copied"
    if len(rows) != len(dict(rows)):
        yield f"something is listed twice in {CONTAINERS}"


@cache
def documented() -> Sequence[Mapping[str, bytes]]:
    """Give few sets of compose files in which each content occurs, with what lists variables."""
    return [
        {**contents, ".env.example": RENDERER.content(".env.example", answers)}
        for answers, contents in showing_each(
            *ALL_COMPOSE, CONTAINERS, of=(*ALL_COMPOSE, CONTAINERS)
        )
    ]


def test_every_variable_of_compose_is_listed() -> None:
    assert len(documented()) > 5
    assert not {fault for files in documented() for fault in compose_faults(files)}


@pytest.mark.parametrize(
    ("path", "sound", "fault", "said"),
    [
        (CONTAINERS, "| `API_PORT`", "| `APIPORT`", "API_PORT is listed nowhere"),
        (CONTAINERS, "| `1g` |", "| `2g` |", "MEMORY_LIMIT is 1g, not 2g"),
        ("docker/compose/service.yml", "${CPU_LIMIT:-0}", "0", "CPU_LIMIT stands in"),
        (CONTAINERS, "`MEMORY_LIMIT`", "`LOG_LEVEL`", "LOG_LEVEL stands in"),
        (".env.example", "LOG_FORMAT=", "LOG_FORMAT=auto", "LOG_FORMAT is auto, not json"),
    ],
)
def test_a_variable_that_is_not_listed_is_seen(
    path: str, sound: str, fault: str, said: str
) -> None:
    files = documented()[0]
    assert sound in files[path].decode()
    broken = {**files, path: files[path].replace(sound.encode(), fault.encode())}
    assert any(said in each for each in compose_faults(broken))


@pytest.mark.parametrize("database", ["postgresql", "mysql"])
def test_pipelines_test_on_the_database_of_compose(database: str) -> None:
    _, github = tree(database=database, ci="github")
    _, gitlab = tree(database=database, ci="gitlab")
    part = f"docker/compose/{database}.yml"
    image = yaml.safe_load(github[part])["services"]["database"]["image"]
    workflow = yaml.safe_load(github[WORKFLOW])["jobs"]["check"]
    pipeline = resolved("check", yaml.safe_load(gitlab[PIPELINE]))
    assert [workflow["services"]["database"]["image"]] == [image]
    assert [service["name"] for service in pipeline["services"]] == [image]


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_pipelines_run_the_python_that_was_chosen(ci: str) -> None:
    answers, files = tree(ci=ci, python_version="3.12")
    version = answers["python_version"]
    assert f"ARG PYTHON_VERSION={version}\n".encode() in files["docker/Dockerfile"]
    assert f"ARG PYTHON_VERSION={version}\n".encode() in files["docker/Dockerfile.dev"]
    if ci == "github":
        workflows = [yaml.safe_load(files[path]) for path in WORKFLOWS if path in files]
        jobs = [job for workflow in workflows for job in workflow["jobs"].values()]
        assert [
            step["with"]["python-version"]
            for job in jobs
            for step in job.get("steps", ())
            if "setup-python" in str(step)
        ] == [version] * 3
    else:
        assert resolved("check", yaml.safe_load(files[PIPELINE]))["image"] == f"python:{version}"


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_pipelines_fail_while_a_conflict_is_left(ci: str, tmp_path: Path) -> None:
    _, files = tree(ci=ci)
    if ci == "github":
        steps = yaml.safe_load(files[WORKFLOW])["jobs"]["check"]["steps"]
        scripts = [step["run"] for step in steps if "run" in step]
    else:
        scripts = yaml.safe_load(files[PIPELINE])["check"]["script"]
    [search] = [script for script in scripts if "git grep" in script]
    # More commands follow in the same shell, where `!` alone would not stop it.
    command = ["bash", "-eo", "pipefail", "-c", f"{search}\ntrue"]
    repository(tmp_path, files)
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
    repository(tmp_path, {"app/main.py": b"<<<<<<< before updating\n"})
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 1


@pytest.mark.parametrize("path", [WORKFLOW, PIPELINE, HOOKS])
def test_make_targets_that_are_called_exist(path: str) -> None:
    _, files = tree(ci="gitlab" if path == PIPELINE else "github")
    called = set(
        re.findall(r"(?:run:|entry:|-) make ([a-z]+)$", files[path].decode(), re.MULTILINE)
    )
    targets = set(re.findall(r"^([a-z]+):", files["Makefile"].decode(), re.MULTILINE))
    assert called
    assert called <= targets


def test_ruff_is_the_same_in_hooks_and_project() -> None:
    _, files = tree()
    hooks = files[HOOKS].decode(), (ROOT / HOOKS).read_text("utf-8")
    projects = files["pyproject.toml"].decode(), (ROOT / "pyproject.toml").read_text("utf-8")
    for hook, project in zip(hooks, projects, strict=True):
        [wanted] = set(re.findall(r'"(ruff[^"]*)"', project))
        assert set(re.findall(r'"(ruff[^"]*)"', hook)) == {wanted}


def test_editor_starts_what_is_there() -> None:
    _, files = tree()
    settings, extensions, launch = (
        json.loads(files[f".vscode/{name}.json"]) for name in ("settings", "extensions", "launch")
    )
    modules = {configuration["module"] for configuration in launch["configurations"]}
    for module in modules - {"pytest"}:
        assert f"{module.replace('.', '/')}/__main__.py" in files
    formatter = settings["[python]"]["editor.defaultFormatter"]
    assert formatter in extensions["recommendations"]


def test_editorconfig_agrees_with_the_formatter() -> None:
    _, files = tree()
    parser = configparser.ConfigParser()
    parser.read_string(files[".editorconfig"].decode().replace("root = true\n", "", 1))
    ruff = tomllib.loads(files["pyproject.toml"].decode())["tool"]["ruff"]
    assert parser.getint("*", "max_line_length") == ruff["line-length"]
    assert parser.get("Makefile", "indent_style") == "tab"


def test_version_control_ignores_secrets_and_nothing_that_is_rendered(tmp_path: Path) -> None:
    _, files = tree()
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    write(tmp_path, files)
    ignored = {".env", ".env.production", ".local/postgres/PG_VERSION", ".venv/bin/python"}
    shared = {*files, "uv.lock"}
    listed = subprocess.run(
        ["git", "-c", "core.excludesFile=", "check-ignore", "--no-index", "--stdin"],
        cwd=tmp_path,
        input="\n".join(sorted(ignored | shared)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert set(listed.stdout.split()) == ignored


@pytest.mark.parametrize(
    "answers",
    [
        {"deploy": "render"},
        {"database": "mysql", "ci": "gitlab", "deploy": "kubernetes", "monitoring": True},
    ],
    ids=["github-render", "gitlab-kubernetes"],
)
def test_hooks_run_and_change_nothing(answers: Mapping[str, Any], tmp_path: Path) -> None:
    _, files = tree(**answers)
    repository(tmp_path, files)
    ran = run_hooks(tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_hooks_find_faults(tmp_path: Path) -> None:
    _, files = tree()
    faults = {
        "ruff-check": ("app/wrong.py", b'"""Wrong."""\n\nimport os\n'),
        "ruff-format": ("app/ugly.py", b'"""Ugly."""\n\nANSWER  =  42\n'),
        "merge-conflict": ("left.txt", b"<<<<<<< before\none\n=======\ntwo\n>>>>>>> after\n"),
        "private-key": ("key.txt", b"-----BEGIN RSA PRIVATE " + b"KEY-----\n"),
        "end-of-file": ("ended.txt", b"without an end"),
        "trailing-whitespace": ("spaces.txt", b"two  \n"),
        "secrets": ("token.txt", b"token: ghp_" + b"16C7e42F292c6912E7710c838347Ae178B4a\n"),
        "toml": ("wrong.toml", b"key = \n"),
        "yaml": ("wrong.yml", b"key: [\n"),
        "large-file": ("large.bin", bytes(600_000)),
        "dockerfile": ("Dockerfile", b"FROM debian\nRUN cd /tmp\n"),
        "compose": ("docker/compose/more.yml", b"services: []\n"),
        "shell": ("wrong.sh", b"#!/bin/sh\nrm $1\n"),
        "dependabot": (DEPENDABOT, b"version: 2\nupdates:\n  - directory: /\n"),
        "github-workflows": (".github/workflows/wrong.yml", b"on: push\njobs: []\n"),
        "zizmor": (".github/workflows/unsafe.yml", UNSAFE_WORKFLOW),
        "gitlab-ci": (".gitlab-ci.yml", b"job:\n  skript: x\n"),
    }
    hooks = {hook["id"] for hook in yaml.safe_load(files[HOOKS])["repos"][0]["hooks"]}
    assert hooks - faults.keys() == HOOKS_OF_THE_SERVICE
    repository(tmp_path, {**files, **dict(faults.values())})
    ran = run_hooks(tmp_path)
    failed = set(re.findall(r"^- hook id: (\S+)$", ran.stdout, re.MULTILINE))
    assert failed == faults.keys(), ran.stdout


def repository(directory: Path, files: Mapping[str, bytes]) -> None:
    """Put files under version control."""
    write(directory, files)
    for command in (["init", "--quiet"], ["add", "--all", "--force"]):
        subprocess.run(["git", *command], cwd=directory, check=True)


def run_hooks(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run all hooks but those that every service that is run gets anyway."""
    return subprocess.run(
        [str(TOOLS / "pre-commit"), "run", "--all-files", "--color=never"],
        cwd=directory,
        env={**os.environ, "SKIP": ",".join(HOOKS_OF_THE_SERVICE)},
        capture_output=True,
        text=True,
        check=False,
    )
