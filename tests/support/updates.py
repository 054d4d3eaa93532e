"""Updates, replayed: a service of an earlier version, its owner's work, and what comes of it."""

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from copier import run_copy, run_update
from pathspec import GitIgnoreSpec

from tests.support.imports import OWN_PACKAGES, imported_modules
from tests.support.render import Renderer, Tree
from tests.support.template import ANSWERS_FILE, ROOT, Answers, Template
from tests.support.worktree import IDENTITY, overlay

NEWEST = "v1000.0.0"
"""The tag of the work tree as it stands, higher than any release."""


class History:
    """The repository with its past and, as its newest version, the work tree as it stands.

    Attributes:
        root: a clone of its own, in which each version has a tag.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        _git(ROOT, "clone", "--quiet", "--no-local", "--no-tags", f"file://{ROOT}", str(root))
        overlay(root)
        _git(root, "add", "--all")
        _git(root, "commit", "--quiet", "--allow-empty", "--message", "The work tree")
        _git(root, "tag", NEWEST)

    @cached_property
    def versions(self) -> list[str]:
        """The tags of what an update may come from, oldest first.

        These are all releases and, until there are enough of them, the latest commits that changed
        what is rendered.
        """
        commits = _git(
            self.root, "log", "--first-parent", "--format=%H", "HEAD~1", "--", *RENDERED
        ).split()
        wanted = commits[: max(0, ENOUGH - len(self.released))]
        tags = [f"v0.0.{number}" for number, _ in enumerate(wanted, start=1)]
        for tag, commit in zip(tags, reversed(wanted), strict=True):
            _git(self.root, "tag", tag, commit)
        return [*tags, *self.released]

    @cached_property
    def released(self) -> list[str]:
        """The tags of all releases, oldest first."""
        tags = _git(ROOT, "tag", "--list", "v*", "--sort=version:refname").split()
        for tag in tags:
            wanted = f"refs/tags/{tag}:refs/tags/{tag}"
            _git(self.root, "fetch", "--quiet", f"file://{ROOT}", wanted)
        return tags

    def questions(self, version: str) -> dict[str, Any]:
        """Read the `copier.yml` of a version."""
        found: dict[str, Any] = yaml.safe_load(_git(self.root, "show", f"{version}:copier.yml"))
        return found


@contextmanager
def compiled_once() -> Iterator[None]:
    """Let Jinja compile each text once: Copier does it for every file again, thousands of times."""
    compile_ = jinja2.Environment.compile
    compiled: dict[tuple[Any, ...], Any] = {}

    def remembering(environment: jinja2.Environment, source: Any, *others: Any) -> Any:
        lexing = (environment.trim_blocks, environment.lstrip_blocks)
        key = (source, others, lexing, *sorted(environment.extensions))
        if not isinstance(source, str) or key not in compiled:
            return compiled.setdefault(key, compile_(environment, source, *others))
        # What Copier's own extension remembers of a text, it finds while that is read.
        environment.preprocess(source, *others[:2])
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jinja2.Environment, "compile", remembering)
        yield


RENDERED = ("copier.yml", "extensions", "template")
ENOUGH = 12
"""So many versions are replayed, as far as there are."""


@dataclass(frozen=True)
class Replay:
    """A service of one version, on disk and under version control."""

    history: History
    directory: Path

    @classmethod
    def of(cls, history: History, version: str, answers: Answers, directory: Path) -> "Replay":
        """Render a service as its owner did, and commit it."""
        run_copy(str(history.root), directory, answers, defaults=True, quiet=True, vcs_ref=version)
        _git(directory, "init", "--quiet")
        replay = cls(history, directory)
        replay.commit()
        return replay

    def commit(self) -> None:
        """Commit whatever has changed."""
        _git(self.directory, "add", "--all")
        _git(self.directory, "commit", "--quiet", "--allow-empty", "--message", "Work")

    def update(self, **answers: object) -> None:
        """Update to the newest version, or change answers in it."""
        run_update(
            self.directory,
            answers,
            defaults=True,
            overwrite=True,
            quiet=True,
            vcs_ref=NEWEST,
        )

    @property
    def answers(self) -> Answers:
        """What its file of answers says."""
        found = yaml.safe_load((self.directory / ANSWERS_FILE).read_text("utf-8"))
        return {name: value for name, value in found.items() if not name.startswith("_")}

    @property
    def tree(self) -> dict[str, bytes]:
        """All its files."""
        return read_tree(self.directory)

    def conflicts(self) -> list[str]:
        """Name each trace of something that could not be merged."""
        unmerged = _git(self.directory, "ls-files", "--unmerged").split("\n")
        marked = [
            path
            for path, content in self.tree.items()
            if b"<<<<<<< " in content or path.endswith(".rej")
        ]
        return [*filter(None, unmerged), *marked]


Edit = Callable[[Path], None]


def append(path: str, text: str) -> Edit:
    """Write below what stands in a file, or a new one."""

    def edit(directory: Path) -> None:
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as opened:
            opened.write(text)

    return edit


def insert(path: str, mark: str, text: str, *, last: bool = False) -> Edit:
    """Write lines below a line that says `mark`, the first one or the last one."""

    def edit(directory: Path) -> None:
        file = directory / path
        if not file.exists():
            return
        before, found, after = (
            file.read_text("utf-8").rpartition(mark)
            if last
            else file.read_text("utf-8").partition(mark)
        )
        assert found, f"{path} has no line {mark!r}"
        line, _, rest = after.partition("\n")
        file.write_text(f"{before}{found}{line}\n{text}{rest}", "utf-8")

    return edit


def delete(*paths: str) -> Edit:
    """Remove files, as far as they are there."""

    def edit(directory: Path) -> None:
        for path in paths:
            (directory / path).unlink(missing_ok=True)

    return edit


EDITS: Mapping[str, Edit] = {
    "a router": append(
        "app/api/v1/notes.py",
        '"""Notes."""\n\nfrom fastapi import APIRouter\n\nrouter = APIRouter(prefix="/notes")\n',
    ),
    "a model": append(
        "app/models/note.py",
        '"""Notes."""\n\nfrom sqlalchemy import Column, MetaData, String, Table\n\n'
        'notes = Table("notes", MetaData(), Column("text", String(50), primary_key=True))\n',
    ),
    "a migration": append(
        "migrations/versions/0900_notes.py",
        '"""Notes."""\n\nfrom alembic import op\nfrom sqlalchemy import Column, String\n\n'
        'revision = "0900"\ndown_revision = None\nbranch_labels = ("notes",)\n\n\n'
        "def upgrade() -> None:\n"
        '    op.create_table("notes", Column("text", String(50), primary_key=True))\n\n\n'
        'def downgrade() -> None:\n    op.drop_table("notes")\n',
    ),
    "a setting": append("app/config.py", "    notes_limit: int = 100\n"),
    "a variable": append(".env.example", "\nNOTES_LIMIT=100\n"),
    "a dependency": insert("pyproject.toml", "# This service's own.", '    "markdown>=3.9",\n'),
    "a tool": insert(
        "pyproject.toml", "# This service's own.", '    "pytest-randomly>=4",\n', last=True
    ),
    "something to ignore": append(".gitignore", "/notes.txt\n"),
    "a deleted example": delete("app/api/v1/documents.py", "tests/test_documents.py"),
    "an edited README": insert("README.md", "# ", "\nKept by the notes team.\n"),
    "a changed override of compose": append(
        "docker-compose.override.yml", "\nx-notes: &notes\n  mem_limit: 1g\n"
    ),
    "an edited page": insert("frontend/src/app/page.tsx", "<h1>", "      <p>Notes</p>\n"),
    "an edited page of the sample": insert(
        "frontend/src/app/projects/page.tsx", "<h1>", "      <p>Of notes</p>\n"
    ),
    "a palette": insert("frontend/src/app/globals.css", "@import", "/* The colours of notes. */\n"),
    "an edited package.json": insert("frontend/package.json", '"private"', '  "type": "module",\n'),
    "a test": append("tests/test_notes.py", "def test_notes() -> None:\n    assert 1 + 1 == 2\n"),
}
"""What owners of services do between two updates."""

AT_SEAMS: Mapping[str, Edit] = {
    "a target": append("Makefile", "\nnotes: ## Print the notes\n\t@cat notes.txt\n"),
    "a habit": append("AGENTS.md", "\n- Notes are never deleted.\n"),
}
"""What else they do, where 0.1.0 or commits after it had no seam: merged between later versions."""


class Owner:
    """Knows which files an update leaves to their owner.

    Args:
        renderer: of the newest version.
    """

    def __init__(self, renderer: Renderer) -> None:
        self.renderer = renderer
        template = renderer.template
        self._kept = GitIgnoreSpec.from_lines(template.settings["skip_if_exists"])
        self._once = {
            path
            for path in renderer.sources
            if (owner := template.owner(path)) is not None and owner.once
        }

    def expected(self, before: Tree, answers: Answers) -> dict[str, bytes]:
        """Give what an update comes to: a fresh service that keeps what is its owner's.

        Args:
            before: the service as it was first rendered.
            answers: complete, of the newest version.
        """
        fresh = self.renderer.tree(answers, "update")
        own = {
            path: content
            for path, content in before.items()
            if self.is_once(path) or (path in fresh and self._kept.match_file(path))
        }
        return {**fresh, **own}

    def is_once(self, path: str) -> bool:
        """Whether a file is an example, which no update brings, changes or takes away."""
        return self.renderer.listed(path) in self._once


def after(tree: Tree, edits: Iterable[Edit], place: Path) -> Tree:
    """Do an owner's work on a service, in an empty directory."""
    for path, content in tree.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(content)
    for edit in edits:
        edit(place)
    return read_tree(place)


def merge(place: Path, ours: str, base: str, theirs: str) -> str:
    """Merge what an owner and an update have made of one text, as Copier does.

    Raises:
        subprocess.CalledProcessError: they conflict.
    """
    for name, text in (("ours", ours), ("base", base), ("theirs", theirs)):
        (place / name).write_text(text, "utf-8")
    return _git(place, "merge-file", "--stdout", "ours", "base", "theirs")


def read_tree(directory: Path) -> dict[str, bytes]:
    """Read all files of a service, without what git keeps."""
    return {
        name: path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
        and not (name := path.relative_to(directory).as_posix()).startswith(".git/")
    }


def unresolved(tree: Tree) -> list[str]:
    """Name each import of a service's own module that is not there."""
    return sorted(
        f"{path} imports {module}"
        for path, content in tree.items()
        if path.endswith(".py")
        for module in imported_modules(content.decode())
        if module.partition(".")[0] in OWN_PACKAGES and not _is_module(tree, module)
    )


def _is_module(tree: Tree, module: str) -> bool:
    place = module.replace(".", "/")
    return (
        f"{place}.py" in tree
        or f"{place}/__init__.py" in tree
        or any(path.startswith(f"{place}/") for path in tree)
    )


def differences(found: Tree, expected: Tree) -> list[str]:
    """Name the files in which two services differ, apart from where they come from."""
    names = (found.keys() | expected.keys()) - {ANSWERS_FILE}
    return sorted(name for name in names if found.get(name) != expected.get(name))


def _git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=directory,
        env={**os.environ, **IDENTITY},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def newest(history: History) -> Renderer:
    """Render as the newest version does, as quickly as the other tests."""
    return Renderer(Template(history.root))
