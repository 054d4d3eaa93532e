"""The rules for the template's own files, and that each rule can be broken."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from copier import run_copy

from tests.support import contract
from tests.support.matrix import DEFAULT, SPREAD, TEXTS, Matrix
from tests.support.template import Template
from tests.support.worktree import copy_template

MANIFEST = "extensions/manifest.yml"
TEXT_BRANCH = "{% if project_name == 'X' %}\nX\n{% endif %}\n"


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_holds(check: contract.Check) -> None:
    assert list(check(Template())) == []


def append(path: str, text: str) -> Callable[[Path], None]:
    """Break a template by adding text to a file, new or old."""

    def breaking(root: Path) -> None:
        with (root / path).open("a", encoding="utf-8") as file:
            file.write(text)

    return breaking


def replace(path: str, old: str, new: str) -> Callable[[Path], None]:
    """Break a template by changing a file."""

    def breaking(root: Path) -> None:
        text = (root / path).read_text("utf-8")
        assert old in text
        (root / path).write_text(text.replace(old, new, 1), "utf-8")

    return breaking


def piece(name: str, when: str, *paths: str) -> Callable[[Path], None]:
    """Add a piece to the manifest."""
    return append(MANIFEST, f'\n{name}:\n  when: "{when}"\n  paths: [{", ".join(paths)}]\n')


def question(name: str, *lines: str) -> Callable[[Path], None]:
    """Add a question to copier.yml."""
    return append("copier.yml", "\n".join(("", f"{name}:", *(f"  {line}" for line in lines), "")))


ON = "{{ examples }}"
BREAKS = {
    "no default": (contract.questions_are_complete, question("new", "type: str", "help: Why?")),
    "no help": (contract.questions_are_complete, question("new", "type: str", "default: a")),
    "task": (contract.needs_no_trust, append("copier.yml", "\n_tasks: [make install]\n")),
    "secret": (
        contract.needs_no_trust,
        question("new", "type: str", "help: Why?", "default: a", "secret: true"),
    ),
    "condition in _exclude": (
        contract.exclude_is_frozen,
        replace("copier.yml", "{% include 'extensions/excluded.jinja' %}", "{{ ci }}"),
    ),
    "path that does not exist": (
        contract.manifest_paths_are_right,
        piece("new", ON, "/app/core/nowhere.py"),
    ),
    "path of two pieces": (
        contract.manifest_paths_are_right,
        piece("new", ON, "/app/core/database/flavours/mysql.py"),
    ),
    "path inside another piece's": (
        contract.manifest_paths_are_right,
        piece("new", ON, "/app/core", "/app/core/piece.py"),
    ),
    "path not anchored": (
        contract.manifest_paths_are_right,
        piece("new", ON, "app/core/piece.py"),
    ),
    "slash at the end": (contract.manifest_paths_are_right, piece("new", ON, "/app/core/")),
    "piece that is always on": (
        contract.pieces_are_switched,
        piece("new", "{{ database != 'oracle' }}", "/app/core/piece.py"),
    ),
    "piece that is never on": (
        contract.pieces_are_switched,
        piece("new", "{{ database == 'oracle' }}", "/app/core/piece.py"),
    ),
    "piece that does nothing": (contract.pieces_are_switched, piece("new", ON)),
    "piece that the manifest lacks": (
        contract.pieces_are_switched,
        append("template/pyproject.toml.jinja", "{% if 'nothing' in active %}\n{% endif %}\n"),
    ),
    "question nobody reads": (
        contract.questions_are_read,
        question("new", "type: bool", "help: Why?", "default: true"),
    ),
    "computed answer nobody reads": (
        contract.questions_are_read,
        question("new", "type: yaml", "help: Why?", "default: '{{ ci }}'", "when: false"),
    ),
    "branch on an answer": (
        contract.conditions_are_plain,
        append("template/pyproject.toml.jinja", TEXT_BRANCH),
    ),
    "nested condition": (
        contract.conditions_are_plain,
        append(
            "template/pyproject.toml.jinja",
            "{% if 'vault' in active %}\n{% if 'auth' in active %}\n{% endif %}\n{% endif %}\n",
        ),
    ),
    "condition within a line": (
        contract.conditions_are_plain,
        append("template/pyproject.toml.jinja", "{{ 1 if 'vault' in active else 2 }}\n"),
    ),
    "unknown answer in a file name": (
        contract.file_names_are_plain,
        append("template/{{ nothing }}.py.jinja", "{{ nothing }}"),
    ),
    "empty directory of the user": (
        contract.kept_files_come_with_their_piece,
        replace("copier.yml", "  - /app/main.py", "  - /app/nowhere/*"),
    ),
    "Jinja in a file name": (
        contract.file_names_are_plain,
        append("template/{% if examples %}x{% endif %}", ""),
    ),
    "Jinja in a static file": (
        contract.static_files_are_static,
        append("template/app/core/piece.py", "{% if examples %}"),
    ),
    "suffix without Jinja": (
        contract.static_files_are_static,
        append("template/app/nothing.py.jinja", "NOTHING = 1\n"),
    ),
    "file that git ignores": (
        contract.files_reach_git,
        append("template/.gitignore", "__main__.py\n"),
    ),
    "kept file that does not exist": (
        contract.kept_files_come_with_their_piece,
        replace("copier.yml", "  - /app/main.py", "  - /app/nowhere.py"),
    ),
    "kept file of a piece": (
        contract.kept_files_come_with_their_piece,
        piece("new", ON, "/app/main.py"),
    ),
    "module not reserved": (
        contract.reserved_names_are_complete,
        replace("extensions/reserved.txt", "\njson\n", "\n"),
    ),
    "dependency not reserved": (
        contract.reserved_names_are_complete,
        replace("extensions/reserved.txt", "\nfastapi\n", "\n"),
    ),
    "ports that collide": (
        contract.ports_never_collide,
        replace("copier.yml", "port_base + 20", "port_base + 10"),
    ),
}


@pytest.mark.parametrize(("check", "breaking"), BREAKS.values(), ids=BREAKS.keys())
def test_can_fail(check: contract.Check, breaking: Callable[[Path], None], tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    breaking(copy_template(tmp_path))
    assert set(check(Template(tmp_path))) - set(check(Template()))


def test_free_answer_needs_representatives(tmp_path: Path) -> None:
    question("new", "type: str", "help: Why?", "default: a")(copy_template(tmp_path))
    with pytest.raises(LookupError, match="new has a free answer"):
        Matrix(Template(tmp_path))


@pytest.mark.parametrize("name", [*SPREAD, *TEXTS])
def test_representatives_are_legal_and_differ(name: str) -> None:
    declared = {**SPREAD, **TEXTS}[name]
    resolver = Matrix(Template()).resolver
    given = [{} if value is DEFAULT else {name: value} for value in declared]
    assert len({resolver.resolve(answers)[name] for answers in given}) == len(declared)


def test_presets_are_legal_and_differ() -> None:
    """Every preset gives legal answers, and no two give the same."""
    presets = Matrix(Template()).presets()
    resolved = [{**answers, "preset": ""} for answers in presets.values()]
    assert {"minimal", "standard", "saas", "multitenant", "trading", "platform"} <= presets.keys()
    assert all(resolved.count(answers) == 1 for answers in resolved)


def test_copier_accepts_it_without_trust(tmp_path: Path) -> None:
    root = copy_template(tmp_path / "template")
    run_copy(str(root), tmp_path / "service", defaults=True, quiet=True, unsafe=False)
    assert (tmp_path / "service/.copier-answers.yml").is_file()
