"""What a service imports it declares, what it declares it uses, and what is off leaves no trace."""

import re
import tomllib
from collections.abc import Iterator

import pytest
import yaml

from tests.support.imports import imported_packages, undeclared_imports, unresolved_imports
from tests.support.matrix import Matrix
from tests.support.render import Renderer, Tree
from tests.support.requirements import PROJECT_FILE, declared, normalised
from tests.support.template import Answers, Template

TEMPLATE = Template()
MATRIX = Matrix(TEMPLATE)
RENDERER = Renderer(TEMPLATE)

USED_OTHERWISE = {
    "aiosqlite": "SQLAlchemy loads it for sqlite+aiosqlite://",
    "asyncmy": "SQLAlchemy loads it for mysql+asyncmy://",
    "asyncpg": "SQLAlchemy loads it for postgresql+asyncpg://",
    "hiredis": "redis-py parses answers with it when it is there",
    "httptools": "uvicorn parses HTTP with it when it is there",
    "mypy": "make typecheck",
    "prek": "runs the hooks of .pre-commit-config.yaml",
    "pytest-xdist": "pytest -n",
    "ruff": "make lint",
    "squawk-cli": "app.core.development.lint_migrations runs it",
    "uv": "make install",
    "uvloop": "uvicorn runs on it when it is there",
    "watchfiles": "uvicorn reloads with it",
}
"""Dependencies that no file imports, and what uses them."""

TRACES = {
    "postgresql": r"postgres|asyncpg",
    "mysql": r"mysql|mariadb",
    "sqlite": r"sqlite",
    "database_server": r"5432|3306",
    "redis": r"redis|6379",
    "vault": r"vault|8200",
}
"""How a piece that is off would show in the environment or in compose."""


def code_trees() -> Iterator[tuple[str, Answers, Tree]]:
    """Give each distinct set of Python files and project file, with its name."""
    paths = [path for path in RENDERER.sources if path.endswith(".py") or path == PROJECT_FILE]
    switches = {name for path in paths for name in TEMPLATE.switches(RENDERER.sources[path])}
    switching = sorted(switches - MATRIX.texts.keys() - {"license", "python_version"})
    for projection in MATRIX.projections(switching):
        answers = projection.answers
        yield "-".join(str(answers[name]) for name in switching), answers, RENDERER.tree(answers)


CASES = [pytest.param(answers, tree, id=name) for name, answers, tree in code_trees()]


@pytest.mark.parametrize(("answers", "tree"), CASES)
def test_imports_and_declarations_agree(answers: Answers, tree: Tree) -> None:
    groups = {
        group: {normalised(requirement.name) for requirement in requirements}
        for group, requirements in declared(tomllib.loads(tree[PROJECT_FILE].decode())).items()
    }
    main = groups.pop("main")
    development = set().union(*groups.values())
    assert list(unresolved_imports(tree)) == []
    assert list(undeclared_imports(tree, main, development)) == []
    assert (main | development) - imported_packages(tree) - USED_OTHERWISE.keys() == set()


@pytest.mark.parametrize(("answers", "tree"), CASES)
def test_piece_that_is_off_leaves_no_trace(answers: Answers, tree: Tree) -> None:
    said = "\n".join((*environment_names(tree), *compose_values(tree)))
    found = {
        piece: re.findall(pattern, said, re.IGNORECASE)
        for piece, pattern in TRACES.items()
        if piece not in answers["active"]
    }
    assert not any(found.values()), found


def environment_names(tree: Tree) -> list[str]:
    """Give each NAME=VALUE of .env.example, comments left out."""
    text = tree[".env.example"].decode()
    return re.findall(r"^#? ?([A-Z][A-Z0-9_]*=.*)$", text, re.MULTILINE)


def compose_values(tree: Tree) -> list[str]:
    """Give the compose file as it is understood, comments left out."""
    return yaml.safe_dump(yaml.safe_load(tree["docker-compose.yml"])).splitlines()


def test_table_is_not_out_of_date() -> None:
    """Every entry of the table is still declared, and still not imported."""
    trees = [tree for _, _, tree in code_trees()]
    imported = set().union(*(imported_packages(tree) for tree in trees))
    assert not USED_OTHERWISE.keys() & imported
    names = {
        normalised(requirement.name)
        for tree in trees
        for requirements in declared(tomllib.loads(tree[PROJECT_FILE].decode())).values()
        for requirement in requirements
    }
    assert USED_OTHERWISE.keys() <= names


def test_disagreement_is_seen() -> None:
    tree = {
        "app/__init__.py": b"",
        "app/main.py": b"import fastapi\nimport pytest\nfrom app.nowhere import x\n",
        "app/core/development/run.py": b"import pytest\n",
        "tests/test_a.py": b"import pytest\n",
    }
    assert list(unresolved_imports(tree)) == [
        "app/main.py imports app.nowhere, which is not rendered"
    ]
    assert list(undeclared_imports(tree, ["fastapi"], ["pytest"])) == [
        "app/main.py imports pytest, which pyproject.toml does not declare"
    ]
    assert imported_packages(tree) == {"fastapi", "pytest"}
