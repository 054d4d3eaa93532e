"""The fast renderer of these tests gives exactly what Copier gives."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from copier import run_copy

from tests.support.matrix import Matrix
from tests.support.render import Renderer, Tree
from tests.support.template import Answers, Template
from tests.support.updates import compiled_once
from tests.support.worktree import copy_template

TEMPLATE = Template()
MATRIX = Matrix(TEMPLATE)
ROWS = MATRIX.covering()


@pytest.fixture(scope="module", autouse=True)
def _compiled_once() -> Iterator[None]:
    with compiled_once():
        yield


@pytest.fixture(scope="session")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    """Render from a plain copy of the template, as Copier does here: no git, no version."""
    return Renderer(Template(copy_template(tmp_path_factory.mktemp("template"))))


def test_sample_covers_every_pair() -> None:
    pairs = set(map(repr, MATRIX.groups()))
    names = [question.name for question in TEMPLATE.asked]
    taken = {
        repr(((first, row[first]), (second, row[second])))
        for row in ROWS
        for position, first in enumerate(names)
        for second in names[position + 1 :]
    }
    assert taken == pairs


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"row{ROWS.index(row)}")
def test_same_files_as_copier(row: Answers, renderer: Renderer, tmp_path: Path) -> None:
    given = {question.name: row[question.name] for question in TEMPLATE.asked}
    run_copy(str(renderer.template.root), tmp_path / "service", given, defaults=True, quiet=True)
    written = tmp_path / "service"
    expected = renderer.tree(row)
    assert read(written) == dict(expected)
    assert not [path for path in written.rglob("*") if path.is_dir() and not any(path.iterdir())]
    assert modes(written) == {path: renderer.mode(path) for path in expected}


@pytest.mark.parametrize("preset", TEMPLATE.questions["preset"].choices)
def test_defaults_are_evaluated_as_copier_does(
    preset: str, renderer: Renderer, tmp_path: Path
) -> None:
    run_copy(
        str(renderer.template.root),
        tmp_path / "service",
        {"preset": preset},
        defaults=True,
        quiet=True,
    )
    assert read(tmp_path / "service") == dict(renderer.tree(MATRIX.presets()[preset]))


def read(directory: Path) -> Tree:
    """Read all files below a directory."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def modes(directory: Path) -> dict[str, int]:
    """Read the permission bits of all files below a directory."""
    return {
        path.relative_to(directory).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in directory.rglob("*")
        if path.is_file()
    }
