"""The documentation: it builds, what is generated is current, and its commands are run by tests."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.answers import Resolver
from tests.support.matrix import Matrix
from tests.support.render import Renderer
from tests.support.runs import environment, python, with_own_programs
from tests.support.template import ROOT, Answers, Template
from tests.support.worktree import IDENTITY
from tools.reference import DIRECTORY, Reference, shown

TEMPLATE = Template()
DOCS = ROOT / "docs"
SITE = ROOT / "zensical.toml"
PAGES = sorted(DOCS.rglob("*.md"))
BLOCK = re.compile(r"^```(\w*)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)

COLOURS = re.compile(r"\x1b\[[\d;]*m")

TUTORIAL = DOCS / "tutorial.md"
HERE = "tests/test_docs.py::test_the_tutorial_is_followed"
COMMANDS = "tests/test_commands.py"
CONTAINERS = "tests/test_containers.py"
FRONTEND = "tests/test_frontend.py"
USED = f"{FRONTEND}::test_a_frontend_checks_itself_and_is_used"
ENCRYPTION = "template/tests/core/encryption"
STARTS = f"{COMMANDS}::test_service_starts_stops_and_finds_its_data_again"
KEEPS = f"{CONTAINERS}::test_compose_starts_a_service_that_keeps_its_data"
DEPLOYS = "tests/test_cluster.py::test_deploying_migrates_first"
ROTATES = "tests/test_rotation.py::test_keys_change_under_load"


@dataclass(frozen=True)
class Command:
    """A command of the documentation, and what executes it.

    Attributes:
        pattern: matches all of it.
        test: that runs it, or the program that its target of make runs.
        words: how it stands in the file of that test.
    """

    pattern: str
    test: str
    words: str


KNOWN = (
    Command(r'make service DIR=\S+( ANSWERS="[^"]+")?', STARTS, '"make", "service"'),
    Command(r"make dev", STARTS, '"make", "service"'),  # which becomes `make dev`
    Command(
        r"make check",
        f"{COMMANDS}::test_service_passes_its_own_checks",
        'make(target, machine, "check")',
    ),
    Command(
        r"copier copy( --data \w+=\S+)* \S+ \S+",
        "tests/test_refusals.py::test_copier_copies_without_trust",
        '"copier", "copy"',
    ),
    Command(
        r"copier update --vcs-ref :current:( --data \w+=\S+)+",
        "tests/test_updates.py::test_an_answer_changes_where_no_release_is",
        '"make", "update", "ARGS=--vcs-ref :current: --data tracing=true"',
    ),
    Command(
        r"make update",
        "tests/test_updates.py::test_make_update_brings_the_newest_release",
        '"make", "update"',
    ),
    Command(r"cd \S+|git (init|add --all|commit --message \"[^\"]+\")", HERE, '"sh", "-euc"'),
    Command(r'make migrate m="[^"]+"|make test ARGS="[^"]+"', HERE, '"sh", "-euc"'),
    Command(
        r"make frontend",
        f"{FRONTEND}::test_make_serves_it_with_hot_reload",
        '"make", "frontend", f"PORT',
    ),
    Command(r"make frontend-check", USED, '"make", "frontend-check"'),
    Command(r"make frontend-e2e", USED, '"make", "frontend-e2e"'),
    Command(r"make (up|down)", KEEPS, 'stack.compose("up", "--wait"'),
    Command(r"make (backup|restore from=\S+)", KEEPS, '"app.core.backup", *arguments'),
    # The lines of `.env` that the same test takes from docker/README.md name the profile.
    Command(r"docker compose --profile vault up --detach --wait vault", KEEPS, "with_vault(stack)"),
    Command(
        r"make vault-seed",
        "template/tests/core/vault/test_policies.py::test_development_secrets_are_written_once",
        '"app.core.development.vault"',
    ),
    Command(
        r"docker compose --profile monitoring up --build --wait",
        f"{CONTAINERS}::test_compose_lets_prometheus_in_and_nobody_else",
        '"up", "--build", "--wait", limit, "api", "prometheus"',
    ),
    Command(
        r"GATEWAY_UPSTREAMS=\S+ docker compose --profile upstreams up --build --wait",
        f"{CONTAINERS}::test_compose_brings_upstreams_for_the_gateway",
        "COMPOSE_PROFILES=upstreams",
    ),
    Command(
        r"kubectl apply --kustomize deploy/kubernetes/namespaces/production",
        DEPLOYS,
        '"kubectl", "apply", "--kustomize", "namespaces/production"',
    ),
    Command(r"deploy/kubernetes/deploy\.sh production \S+", DEPLOYS, '"./deploy.sh", "production"'),
    Command(r"make rotate-jwt", ROTATES, '"app.core.secrets.vault.rotate"'),
    Command(r'make admin ARGS="create [^"]+"', ROTATES, '"app.core.auth.local.admin", "create"'),
    Command(
        r"make rotate-master-key", f"{ENCRYPTION}/test_command.py::test_the_command", '["rotate"]'
    ),
    Command(
        r"make worker",
        "tests/test_workers.py::test_a_worker_beside_make_dev_runs_its_jobs",
        '"make", "worker"',
    ),
    Command(
        r'make tenants ARGS="create [^"]+"',
        "template/tests/core/test_tenancy.py::test_a_tenant_is_made_while_developing",
        '"app.core.development.command", "app.core.tenancy", *arguments',
    ),
)


def blocks(text: str) -> Iterator[tuple[str, str, str]]:
    """Give the fenced blocks of a page: language, title and content."""
    yield from BLOCK.findall(text)


def commands(text: str) -> Iterator[str]:
    """Give each command that a page tells its reader to run."""
    for language, _, content in blocks(text):
        if language in ("console", "sh"):
            yield from filter(None, content.splitlines())


def unknown(text: str) -> list[str]:
    """Name the commands that no test is known to run."""
    return [
        command
        for command in commands(text)
        if not any(re.fullmatch(each.pattern, command) for each in KNOWN)
    ]


def navigated(entries: Any) -> Iterator[str]:
    """Give each page that a navigation leads to."""
    for entry in entries:
        for target in entry.values():
            if isinstance(target, str):
                yield target
            else:
                yield from navigated(target)


def stale(pages: Mapping[str, str], directory: Path) -> list[str]:
    """Name the pages that are not there as they are generated now."""
    there = {path.name: path.read_text("utf-8") for path in directory.iterdir()}
    names = sorted(pages.keys() | there.keys())
    return [name for name in names if there.get(name) != f"{pages.get(name)}\n"]


def build(directory: Path) -> tuple[int, str]:
    """Build the site in a directory as `make docs` does; give its status and what it said."""
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=directory,
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
    )
    return built.returncode, COLOURS.sub("", built.stdout + built.stderr)


def test_the_site_is_built(tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(SITE, tmp_path)
    status, said = build(tmp_path)
    assert status == 0, said
    for page in PAGES:
        assert (tmp_path / "site" / page.relative_to(DOCS).with_suffix(".html")).is_file(), page
    foreign = re.findall(
        r'<(?:link|script|img)[^>]*(?:href|src)="?(?:https?:)?//[^>]*>',
        (tmp_path / "site/index.html").read_text("utf-8"),
    )
    assert foreign == []


@pytest.mark.parametrize("link", ["gone.md", "index.md#gone"])
def test_a_link_that_leads_nowhere_is_refused(link: str, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text(f"# Here\n\n[There]({link})\n", "utf-8")
    settings = SITE.read_text("utf-8")
    begin, end = settings.index("nav = ["), settings.index("\n]\n") + 3
    without_pages = settings[:begin] + 'nav = ["index.md"]\n' + settings[end:]
    (tmp_path / SITE.name).write_text(without_pages, "utf-8")
    status, said = build(tmp_path)
    assert status != 0
    assert "index.md:3:" in said


def test_every_page_is_in_the_navigation() -> None:
    settings = tomllib.loads(SITE.read_text("utf-8"))["project"]
    assert sorted(navigated(settings["nav"])) == [
        page.relative_to(DOCS).as_posix() for page in PAGES
    ]


def test_what_is_generated_is_current(tmp_path: Path) -> None:
    pages = Reference(TEMPLATE).pages()
    assert stale(pages, DIRECTORY) == [], "make docs"

    shutil.copytree(DIRECTORY, tmp_path / "reference")
    (tmp_path / "reference/questions.md").write_text("# Others\n", "utf-8")
    (tmp_path / "reference/left.md").write_text("# Left over\n", "utf-8")
    assert stale(pages, tmp_path / "reference") == ["left.md", "questions.md"]


READ_SETTINGS = """
import json
from app.config import Settings
fields = Settings.model_fields.items()
print(json.dumps({name.upper(): [each.is_required(), each.description] for name, each in fields}))
"""


def test_variables_are_what_a_service_reads(tmp_path: Path) -> None:
    """The page is made without running anything: here the classes are asked."""
    switches = ("tenancy", "vault", "redis", "monitoring", "tracing", "gateway", "encryption")
    given: Answers = {
        "database": "sqlite",
        "auth": "local",
        "worker": "taskiq",
        "external_api": "bybit",
        **dict.fromkeys(switches, True),
    }
    answers = Resolver(TEMPLATE).resolve(given)
    printed = python(SERVICE.write(SERVICE.tree(answers), tmp_path), "-c", READ_SETTINGS)
    read = {name.replace("BYBIT", "NAME"): each for name, each in json.loads(printed).items()}
    reference = Reference(TEMPLATE)
    on = {None, *answers["active"]}
    assert sorted(read) == sorted(
        name for name, each in reference.settings.items() if on & set(each.pieces)
    )
    for name, (required, description) in read.items():
        setting = reference.settings[name]
        assert setting.required == required, name
        assert description.startswith(setting.description), name


def test_results_are_shown() -> None:
    results = {
        "date": "2026-11-26T18:00:00+00:00",
        "commit": "abc1234",
        "sets": [["Each pair", 41, 42]],
        "covered": [["pairs", 870, 871]],
        "grid": [
            {"row": ["none", False], "column": ["mysql"], "passed": True, "seconds": 61.6},
            {"row": ["none", True], "column": ["mysql"], "passed": False, "seconds": 2},
            {"row": ["none", True], "column": ["sqlite"], "passed": None, "seconds": 0},
        ],
    }
    text = "\n".join(shown(results))
    assert "of `abc1234`, on 2026-11-26" in text
    assert "| Each pair | 41 | 42 |" in text
    assert "| none/no | 62 | not legal |" in text
    assert "| none/yes | **failed** | not run |" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_commands_are_run_by_tests(page: Path) -> None:
    text = page.read_text("utf-8")
    assert unknown(text) == []
    assert {language for language, _, _ in blocks(text)} <= {"console", "ini", "python"}
    assert text.count("\n```") == 2 * len(list(blocks(text)))


def test_an_unknown_command_is_seen() -> None:
    page = "```console\nmake check\nmake coffee\n```\n\n```sh\nmake check twice\n```\n"
    assert unknown(page) == ["make coffee", "make check twice"]


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.pattern)
def test_known_commands_are_run(known: Command) -> None:
    path, _, name = known.test.partition("::")
    text = (ROOT / path).read_text("utf-8")
    assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE)
    assert known.words in text
    assert any(
        re.fullmatch(known.pattern, command)
        for page in PAGES
        for command in commands(page.read_text("utf-8"))
    ), "no page has it any more"


def test_targets_of_make_exist() -> None:
    makefiles = {
        True: (ROOT / "Makefile").read_text("utf-8"),
        False: TEMPLATE.read("Makefile.jinja"),
    }
    for page in PAGES:
        for command in commands(page.read_text("utf-8")):
            for target in re.findall(r"^make ([a-z0-9-]+)", command):
                assert re.search(rf"^{target}:", makefiles[target == "service"], re.MULTILINE), (
                    page,
                    command,
                )


def answers_in(text: str) -> Iterator[tuple[str, str]]:
    """Give each answer of which a page speaks: on a command line, or in its text."""
    yield from re.findall(r"--data ([a-z_]+)=(\w+)", text)
    for given in re.findall(r'ANSWERS="([^"]+)"', text):
        yield from (pair.split("=") for pair in given.split())
    for name, value in re.findall(r"`([a-z_]+)=(\w+)`", text):
        if name in TEMPLATE.questions:
            yield name, value


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_answers_exist(page: Path) -> None:
    matrix, words = Matrix(TEMPLATE), {True: {"true", "yes"}, False: {"false", "no"}}
    for name, value in answers_in(page.read_text("utf-8")):
        question = TEMPLATE.questions[name]
        legal = [
            words[each] if question.type == "bool" else {str(each)}
            for each in matrix.values(question)
        ]
        assert value in set().union(*legal), name


WRITTEN = [page for page in PAGES if page.parent not in (DIRECTORY, DOCS / "decisions")]
"""Pages that speak of services as they are now."""

SERVICE = Renderer(TEMPLATE)


def nowhere(text: str) -> list[str]:
    """Name the files and variables of which a page speaks and which no service has."""
    paths = set(re.findall(r"`((?:app|deploy|docker|migrations|tests|\.github)/[\w./-]*)", text))
    sources = list(SERVICE.sources)
    missing = [
        path
        for path in paths
        if SERVICE.listed(path) is None and not any(each.startswith(path) for each in sources)
    ]
    known = (DIRECTORY / "variables.md").read_text("utf-8")
    guides = ("deploy/kubernetes/README.md", "deploy/pipeline/README.md", "frontend/README.md")
    for file in ("Makefile", *guides):
        known += TEMPLATE.read(f"{file}.jinja")
    for name in set(re.findall(r"`([A-Z]+(?:_[A-Z0-9]+)+)\b", text)):
        generic = name.replace("BYBIT_API", "NAME_API")
        if not re.search(rf"\b{generic}\b", known):
            missing.append(name)
    return sorted(missing)


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_files_and_variables_exist(page: Path) -> None:
    assert nowhere(page.read_text("utf-8")) == []


def test_what_does_not_exist_is_seen() -> None:
    page = "`app/core/`, `app/core/gone.py`, `VAULT_ADDR`, `VAULT_ADRR=x` and `BYBIT_API_KEY`"
    assert nowhere(page) == ["VAULT_ADRR", "app/core/gone.py"]


def test_python_of_the_pages_is_python() -> None:
    for page in PAGES:
        for language, title, content in blocks(page.read_text("utf-8")):
            if language == "python":
                compile(content, title or page.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """The smallest service, with these tests' own packages in the place of its `.venv`."""
    answers = Resolver(TEMPLATE).resolve({"preset": "minimal"})
    return with_own_programs(SERVICE.write(SERVICE.tree(answers), tmp_path / "my-service"))


def test_the_tutorial_is_followed(service: Path) -> None:
    """Its files are written where it says, its commands run in its order."""
    said = ""
    for language, title, content in blocks(TUTORIAL.read_text("utf-8")):
        if language == "python":
            assert not (service / title).exists()
            (service / title).write_text(content, "utf-8")
        for command in content.splitlines() if language == "console" else ():
            [known] = [each for each in KNOWN if re.fullmatch(each.pattern, command)]
            if known.test == HERE:
                said += run(command, service if not command.startswith("cd") else service.parent)
    assert "2 passed" in said
    assert "create_table" in "".join(
        path.read_text("utf-8") for path in (service / "migrations/versions").glob("*_add_notes.py")
    )
    assert run("git status --porcelain", service) == ""
    run(".venv/bin/ruff check --no-cache . && .venv/bin/ruff format --no-cache --check .", service)


def run(command: str, directory: Path) -> str:
    """Run a command as its reader does.

    Raises:
        AssertionError: it failed; with all that it said.
    """
    command = command.replace("cd ../", "cd ")
    ran = subprocess.run(
        ["sh", "-euc", command],
        cwd=directory,
        env=environment(**IDENTITY),
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"
    return ran.stdout
