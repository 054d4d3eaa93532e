"""Nothing in a service is a decoration: whoever takes a piece out of the registry sees red."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.answers import Resolver
from tests.support.render import Renderer, Tree
from tests.support.runs import environment
from tests.support.template import Template

TEMPLATE = Template()
RENDERER = Renderer(TEMPLATE)
REGISTRY = "app/core/registry.py"

# The registry is the same for all databases, and this one needs no server.
TREE: Tree = RENDERER.tree(Resolver(TEMPLATE).resolve({"database": "sqlite"}))


def entries(source: str, variable: str) -> list[ast.expr]:
    """Give the elements of the tuple that is assigned to a variable."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == variable:
            assert isinstance(node.value, ast.Tuple)
            return node.value.elts
    raise AssertionError(f"{REGISTRY} assigns no {variable}")


def without(source: str, entry: ast.expr) -> str:
    """Take the line of one element out."""
    lines = source.splitlines(keepends=True)
    line = lines.pop(entry.lineno - 1)
    assert line.strip() == f"{ast.unparse(entry)},", f"one piece per line, not {line!r}"
    return "".join(lines)


SOURCE = TREE[REGISTRY].decode()
PIECES = entries(SOURCE, "PIECES")


def test_registry_does_not_depend_on_the_database() -> None:
    for database in TEMPLATE.questions["database"].choices:
        answers = Resolver(TEMPLATE).resolve({"database": database})
        assert RENDERER.content(REGISTRY, answers) == TREE[REGISTRY]


@pytest.mark.parametrize("piece", PIECES, ids=ast.unparse)
def test_piece_is_missed(piece: ast.expr, tmp_path: Path) -> None:
    RENDERER.write(TREE, tmp_path)
    (tmp_path / REGISTRY).write_text(without(SOURCE, piece), "utf-8")
    done = own_tests(tmp_path)
    # Tests are red (test_services.py shows them green with the complete registry); a service that
    # cannot even be imported would end with another status.
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout


def own_tests(directory: Path) -> "subprocess.CompletedProcess[str]":
    """Run the foundation's tests of a service until the first that fails."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/core"],
        cwd=directory,
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
