"""Every file, in everything it can say: it parses, it is formatted, and no branch is dead."""

import ast
import configparser
import itertools
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from mako.template import Template as MakoTemplate

from tests.support.contents import BranchRecorder, Contents
from tests.support.matrix import Matrix
from tests.support.render import Renderer
from tests.support.template import SUFFIX, Template
from tests.support.worktree import copy_template

TEMPLATE = Template()
MATRIX = Matrix(TEMPLATE)
RENDERER = Renderer(TEMPLATE)
CONTENTS = Contents(MATRIX, RENDERER)
PATHS = sorted(RENDERER.sources)


class AnyTagLoader(yaml.CSafeLoader):
    """Reads YAML with the tags that GitLab (!reference) and Compose (!reset) add."""


AnyTagLoader.add_multi_constructor("!", lambda loader, suffix, node: None)


def parse_yaml(text: str) -> None:
    """Parse every document of a YAML file."""
    list(yaml.load_all(text, AnyTagLoader))


def parse_environment(text: str) -> None:
    """Parse an .env file: comments, and one NAME=VALUE on a line."""
    for line in text.splitlines():
        assert re.fullmatch(r"(#.*|#?\s?[A-Z][A-Z0-9_]*=.*)?", line), line


PARSERS: Mapping[str, Callable[[str], Any]] = {
    ".py": ast.parse,
    ".toml": tomllib.loads,
    ".json": json.loads,
    ".yml": parse_yaml,
    ".yaml": parse_yaml,
    ".ini": lambda text: configparser.ConfigParser(interpolation=None).read_string(text),
    ".mako": MakoTemplate,
    ".example": parse_environment,
}


@pytest.mark.parametrize("path", PATHS)
def test_file(path: str, record_property: Callable[[str, object], None]) -> None:
    contents = CONTENTS.of(path)
    record_property("contents", len(contents))
    assert contents, "no combination has this file"
    rendered = RENDERER.sources[path].endswith(SUFFIX)
    for content in contents:
        problems = [*untidy(path, content.text), *(leftovers(content.text) if rendered else ())]
        assert not problems, f"{problems} with {content.answers}"
        PARSERS.get(PurePosixPath(path).suffix, str)(content.text)


def untidy(path: str, text: str) -> Iterator[str]:
    """Say what a formatter or a reader would stumble over."""
    if not text:
        return
    if not text.endswith("\n") or text.endswith("\n\n"):
        yield "does not end with exactly one newline"
    if text.startswith("\n"):
        yield "starts with an empty line"
    if "\r" in text or ("\t" in text and path != "Makefile"):
        yield "has tabs or carriage returns"
    if re.search(r"[ \t]+$", text, re.MULTILINE):
        yield "has blanks at the end of a line"
    prose = re.sub(r"^```.*?^```$", "code", text, flags=re.DOTALL | re.MULTILINE)
    if not path.endswith((".py", ".mako")) and path != "LICENSE" and "\n\n\n" in prose:
        yield "has several empty lines in a row"


def leftovers(text: str) -> Iterator[str]:
    """Find Jinja that was not rendered; GitHub's ${{ }} is none."""
    yield from re.findall(r"\{[%#].*|.*[%#]\}|(?<!\$)\{\{.*", text)


@pytest.mark.parametrize(
    "text", ["a\n\n", "a", "\na\n", "a \n", "a\n\n\nb\n", "a\tb\n", "a\r\n"], ids=repr
)
def test_untidy_is_seen(text: str) -> None:
    assert list(untidy("README.md", text))


def test_untidy_parts_are_seen(tmp_path: Path) -> None:
    template = Template(copy_template(tmp_path))
    with (template.directory / "README.md.jinja").open("a", encoding="utf-8") as readme:
        readme.write("\n{% if 'vault' in active %}\nWith Vault.\n\n{% endif %}\n")
    contents = Contents(Matrix(template), Renderer(template)).of("README.md")
    assert {*itertools.chain(*(untidy("README.md", content.text) for content in contents))} == {
        "does not end with exactly one newline"
    }


@pytest.mark.parametrize("text", ["{% if a %}", "{{ a }}", "{# a #}", "a %}"])
def test_leftovers_are_seen(text: str) -> None:
    assert list(leftovers(text))


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write every content of every Python file to disk, under the configuration of a service.

    The n-th directory has the n-th content of each file that has so many. Beside it are the
    packages' `__init__.py` and the project file, by which tools know what belongs together.
    """
    root = tmp_path_factory.mktemp("variants")
    for path in PATHS:
        if path.endswith(".py"):
            for number, content in enumerate(CONTENTS.of(path)):
                target = root / str(number) / RENDERER.named(path, content.answers)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(content.text, "utf-8")
    project = CONTENTS.of("pyproject.toml")[0].text
    for variant in root.iterdir():
        (variant / "pyproject.toml").write_text(project, "utf-8")
        for directory in variant.rglob("*/"):
            package = directory.relative_to(variant) / "__init__.py"
            if package.as_posix() in RENDERER.sources:
                text = CONTENTS.of(package.as_posix())[0].text
                (variant / package).write_text(text, "utf-8")
    return root


@pytest.mark.parametrize("command", [["check"], ["format", "--check", "--diff"]], ids=" ".join)
def test_ruff_finds_nothing(command: list[str], variants: Path) -> None:
    report = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--no-cache", "."],
        cwd=variants,
        check=False,
        capture_output=True,
        text=True,
    )
    assert report.returncode == 0, report.stdout + report.stderr


def test_accounts_begin_alike_in_either_layout() -> None:
    """Their first migration stands twice: for one database, and for that of users."""
    of_one, of_users = (
        TEMPLATE.read(f"migrations/{place}/0000_identity.py.jinja")
        for place in ("versions", "user")
    )
    assert of_users.replace('"user_0000', '"0000') == of_one


def test_no_branch_is_dead() -> None:
    renderer = Renderer(TEMPLATE, BranchRecorder)
    contents = Contents(MATRIX, renderer)
    for path in PATHS:
        contents.of(path)
    assert isinstance(renderer.environment, BranchRecorder)
    assert renderer.environment.conditions
    assert renderer.environment.dead_branches() == []


def test_dead_branch_is_seen() -> None:
    environment = Renderer(TEMPLATE, BranchRecorder).environment
    assert isinstance(environment, BranchRecorder)
    text = "{% if a == 1 %}\n1\n{% elif a == 2 %}\n2\n{% endif %}\n{{ 1 if a else 0 }}"
    template = environment.from_string(text)
    assert template.render(a=1).endswith("1\n1")
    # A text without a name is not watched; as a file of the template it is.
    code = environment.compile(text, name="template/a.jinja")
    watched = environment.template_class.from_code(environment, code, environment.globals, None)
    for value in (1, 3):
        watched.render(a=value)
    assert environment.dead_branches() == [
        "template/a.jinja: condition 2, line 3, is never true",
        "template/a.jinja: condition 3, line 6, is never false",
    ]


@pytest.mark.parametrize("preset", MATRIX.presets())
def test_update_leaves_alone_what_is_rendered_once(preset: str) -> None:
    answers = MATRIX.presets()[preset]
    copied, updated = RENDERER.tree(answers), RENDERER.tree(answers, operation="update")
    once = {path for path in copied if (owner := TEMPLATE.owner(path)) and owner.once}
    assert once
    assert copied.keys() - updated.keys() == once


@pytest.mark.parametrize("preset", MATRIX.presets())
def test_rendering_twice_gives_the_same(preset: str) -> None:
    again = Template()
    answers = Matrix(again).presets()[preset]
    assert Renderer(again).tree(answers) == RENDERER.tree(MATRIX.presets()[preset])
