"""What a service imports it declares, what it declares it uses, and what is off leaves no trace."""

import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.closure import Closure
from tests.support.contract import implies
from tests.support.matrix import Matrix
from tests.support.render import Renderer
from tests.support.requirements import PROJECT_FILE, declared, normalised
from tests.support.template import Template, rendered_name
from tests.support.worktree import copy_template

TEMPLATE = Template()
CLOSURE = Closure(TEMPLATE)

USED_OTHERWISE = {
    "aiosqlite": "SQLAlchemy loads it for sqlite+aiosqlite://",
    "asyncmy": "SQLAlchemy loads it for mysql+asyncmy://",
    "asyncpg": "SQLAlchemy loads it for postgresql+asyncpg://",
    "httptools": "uvicorn parses HTTP with it when it is there",
    "mypy": "make typecheck",
    "prek": "runs the hooks of .pre-commit-config.yaml",
    "pytest-cov": "pytest --cov",
    "pytest-xdist": "pytest -n",
    "ruff": "make lint",
    "squawk-cli": "app.core.development.lint_migrations runs it",
    "uv": "make install",
    "uvloop": "uvicorn runs on it when it is there",
    "watchfiles": "uvicorn reloads with it",
    "websockets": "uvicorn speaks WebSocket with it when it is there",
}
"""Dependencies that no file imports, and what uses them."""

TRACES = {
    "postgresql": r"postgres|asyncpg",
    "mysql": r"mysql|mariadb",
    "sqlite": r"sqlite",
    "database_server": r"5432|3306",
    "redis": r"redis|6379",
    "vault": r"vault|8200",
    "external_api": r"external|bybit|api_network",
    "gateway": r"gateway|upstream|8001",
    "encryption": r"master_key",
    "tracing": r"otel",
    "worker": r"worker",
    "celery": r"celery",
    "taskiq": r"taskiq",
    "arq": r"\barq\b",
    "monitoring": r"monitoring|metrics|prometheus",
}
"""How a piece that is off would show in the environment or in compose."""

SHARED = (
    ".env.example.jinja",
    "docker-compose.yml.jinja",
    "docker/compose/api.yml.jinja",
    "docker/compose/service.yml.jinja",
)


Check = Callable[[Closure], Iterator[str]]


@pytest.mark.parametrize("check", [Closure.unresolved, Closure.undeclared])
def test_imports_are_there(check: Check) -> None:
    assert list(check(CLOSURE)) == []


def test_texts_speak_of_files_that_are_there() -> None:
    assert list(CLOSURE.unfounded()) == []


def test_declared_packages_are_used() -> None:
    assert {line.split()[0] for line in CLOSURE.unused()} == USED_OTHERWISE.keys()


def test_declarations_are_read_as_they_are_rendered() -> None:
    """The lines that are taken apart come to what a TOML parser finds, for each pair of answers."""
    matrix, renderer = Matrix(TEMPLATE), Renderer(TEMPLATE)
    for answers in matrix.covering():
        groups = declared(tomllib.loads(renderer.content(PROJECT_FILE, answers).decode()))
        for in_production, group in ((True, "main"), (False, "dev")):
            assert sorted(normalised(each.name) for each in groups[group]) == sorted(
                each.package
                for each in CLOSURE.declarations
                if each.in_production == in_production
                and (each.piece is None or each.piece in answers["active"])
            )


BREAKS = {
    "missing module": (Closure.unresolved, "app/main.py", "import app.nowhere\n"),
    "module of a piece": (Closure.unresolved, "app/main.py", "import app.core.tenancy.scope\n"),
    "missing package": (Closure.undeclared, "app/main.py", "import yaml\n"),
    "package of a piece": (Closure.undeclared, "app/core/piece.py", "import hvac\n"),
    "package of developers": (Closure.undeclared, "app/main.py", "import pytest\n"),
    "missing file": (Closure.unfounded, "AGENTS.md.jinja", "See `app/core/nowhere.py`.\n"),
    "file of a piece": (Closure.unfounded, "AGENTS.md.jinja", "See `app/jobs/documents.py`.\n"),
    "unused package": (
        Closure.unused,
        "pyproject.toml.jinja",
        'dependencies = [\n    "pyyaml>=6",\n]\n',
    ),
}


@pytest.mark.parametrize(("check", "file", "line"), BREAKS.values(), ids=BREAKS)
def test_disagreement_is_seen(check: Check, file: str, line: str, tmp_path: Path) -> None:
    template = Template(copy_template(tmp_path))
    with (template.directory / file).open("a", encoding="utf-8") as broken:
        broken.write(line)
    assert set(check(Closure(template))) - set(check(CLOSURE))


@pytest.mark.parametrize("piece", TRACES)
def test_piece_that_is_off_leaves_no_trace(piece: str) -> None:
    found = [f"{name} ({block}): {line}" for name, block, line in traces(TEMPLATE, piece)]
    assert found == []


def test_trace_is_seen(tmp_path: Path) -> None:
    template = Template(copy_template(tmp_path))
    with (template.directory / SHARED[0]).open("a", encoding="utf-8") as broken:
        broken.write("{% if 'auth' in active %}\nVAULT_ADDR=http://vault:8200\n{% endif %}\n")
    assert [block for _, block, _ in traces(template, "vault")] == ["auth"]


def traces(template: Template, piece: str) -> Iterator[tuple[str, str | None, str]]:
    """Find lines that speak of a piece and are rendered without it, comments left out."""
    matrix = Matrix(template)
    for name in SHARED:
        owner = template.owner(rendered_name(name))
        for block in template.blocks(name):
            if any(
                each and implies(matrix, template.pieces[each], template.pieces[piece])
                for each in (block.piece, owner and owner.name)
            ):
                continue
            for line in block.lines:
                said = re.sub(r"^# ?(?=[A-Z][A-Z0-9_]*=)", "", line).partition("#")[0]
                if re.search(TRACES[piece], said, re.IGNORECASE):
                    yield name, block.piece, line
