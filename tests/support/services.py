"""The distinct services that a template gives: what is alike when it runs is run once."""

import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from tests.support.matrix import Matrix
from tests.support.render import Renderer, Tree
from tests.support.requirements import PROJECT_FILE
from tests.support.template import Answers, Template

READ_BY_PEOPLE = re.compile(
    r"README\.md|AGENTS\.md|LICENSE|Makefile|docker/|docker-compose|render\.yaml|\.copier"
    r"|deploy/((kubernetes|monitoring|pipeline|render|runbooks)/|[^/]+\.md)|\.(devcontainer|github|vscode)/"
    r"|\.(dockerignore|editorconfig|gitattributes|gitignore|gitlab-ci\.yml|pre-commit-config\.yaml)"
)
"""Files that a running service, its tests, its types and its style do not read."""

DESCRIPTION = ("name", "description", "authors", "license", "license-files")
"""What of a project's metadata changes nothing when it runs; nothing else asks for `license`."""


THREES = "threes"
"""Stands for the names of questions: each three answers instead of all to some questions."""

DATA = frozenset({"database", "databases", "models", "tenancy"})
"""Questions of which every combination of answers is run, not only every pair."""


@dataclass(frozen=True)
class Service:
    """One of the services that differ when they run.

    Attributes:
        name: made of the answers that tell it from the others.
        answers: one of the combinations that give it.
    """

    name: str
    answers: Answers


class Services:
    """Finds the distinct services of a template."""

    def __init__(self, matrix: Matrix, renderer: Renderer) -> None:
        self.matrix = matrix
        self.renderer = renderer

    @property
    def template(self) -> Template:
        """The template whose services these are."""
        return self.renderer.template

    @cached_property
    def chosen(self) -> list[Service]:
        """All presets, and few other services, in which each legal pair of answers is run.

        So is every combination of the answers that make the layer of data what it is.

        Free answers are only printed, or change addresses for people to open: each further value of
        them is given to one of these services, to the last ones, which are nobody's preset.
        """
        presets, parts = self.matrix.presets().values(), self._parts(self._usual)
        rows = self.matrix.covering(self._switches, self._usual, presets, parts)
        free = list(self._free_answers())
        last = len(rows) - len(free)
        rows[last:] = map(self._with, rows[last:], free)
        return [Service(self._name(row), row) for row in self._distinct(rows).values()]

    def _with(self, row: Answers, given: Answers) -> Answers:
        asked = {question.name: row[question.name] for question in self.template.asked}
        return self.matrix.resolver.resolve({**asked, **given})

    def _parts(self, usual: Answers) -> Iterator[Answers]:
        """Each combination of the answers that belong together, with the sample that shows them."""
        together = self.template.questions.keys() & DATA
        for projection in self.matrix.projections(together, {**usual, "examples": True}):
            yield {"examples": True, **{name: projection.answers[name] for name in together}}

    def crossed(self, names: Iterable[str]) -> list[Service]:
        """Every legal combination of some answers, the others as in the smallest service.

        Where that is not legal they are as near to it as can be.
        """
        axes = frozenset(names)
        rows = [
            self._smallest({name: projection.answers[name] for name in axes})
            for projection in self.matrix.projections(axes)
        ]
        return [Service(self._name(row), row) for row in self._distinct(rows).values()]

    def _smallest(self, given: Answers) -> Answers:
        least = {**self.matrix.resolver.resolve({"preset": "minimal"}), "examples": True}
        try:
            return self.matrix.resolver.resolve({"preset": "minimal", "examples": True, **given})
        except ValueError:
            chosen = dict(given)
        for question in self.template.asked:
            if question.name not in chosen:
                legal = self.matrix.projections((question.name,), chosen)
                values = [projection.answers[question.name] for projection in legal]
                small = least[question.name]
                chosen[question.name] = small if small in values else values[0]
        return self.matrix.resolver.resolve(chosen)

    @cached_property
    def threes(self) -> list[Service]:
        """Services in which each three answers are run that go together."""
        rows = self.matrix.covering(self._switches, self._usual, strength=3)
        return [Service(self._name(row), row) for row in self._distinct(rows).values()]

    def wanted(self, axes: str | None) -> list[Service]:
        """Give those that a run is about: of each pair of answers, or of all answers to `axes`.

        Args:
            axes: names of questions with blanks between them, or `THREES`.
        """
        if axes == THREES:
            return self.threes
        return self.crossed(axes.split()) if axes else self.chosen

    def what(self, axes: str | None) -> str:
        """Say what `wanted` services have."""
        if axes == THREES:
            return "each three answers"
        return f"every combination of {axes}" if axes else "each pair of answers"

    def covered(self, services: Iterable[Service], strength: int) -> tuple[int, int]:
        """Count the groups of so many answers that services have, and those that are legal.

        Of the answers that change what runs; the sample is among them.
        """
        rows = [each.answers for each in services]
        return self.matrix.covered(rows, self._switches, self._usual, strength)

    def tree(self, service: Service) -> Tree:
        """Render a service."""
        return self.renderer.tree(service.answers)

    @cached_property
    def _switches(self) -> frozenset[str]:
        read = [name for path, name in self.renderer.sources.items() if _is_run(path)]
        switches = frozenset[str]().union(*map(self.template.switches, read))
        return switches - self._free

    @property
    def _free(self) -> frozenset[str]:
        """Questions whose answers change nothing that runs, or only what is printed."""
        pieces = self.template.pieces.values()
        switching = frozenset[str]().union(*(self.template.variables(each.when) for each in pieces))
        return frozenset(self.matrix.texts) | (self.matrix.free - switching) | {"license"}

    @cached_property
    def _usual(self) -> Answers:
        """What is answered to the free questions while the others are varied."""
        return {name: self.matrix.resolver.resolve()[name] for name in self._free}

    def _free_answers(self) -> Iterator[Answers]:
        """Each further value of the free answers: texts move together, others one by one."""
        for row in list(self.matrix.text_rows)[1:]:
            yield self.matrix.texts_of(row)
        for name in self.matrix.spread.keys() & self._free:
            for value in self.matrix.spread[name][1:]:
                yield {name: value}

    def _distinct(self, rows: Iterable[Answers]) -> dict[str, Answers]:
        """Give each thing that a run can be like once, by fingerprint."""
        found: dict[str, Answers] = {}
        for answers in rows:
            found.setdefault(fingerprint(self.renderer.tree(answers)), answers)
        return found

    def _name(self, answers: Answers) -> str:
        """Name a service by what is on, in the order of the questions."""
        switches = self._switches
        parts = []
        for question in self.template.asked:
            value = answers[question.name]
            if question.name in switches and value and value != "none":
                parts.append(question.name if value is True else str(value))
        return "-".join(parts)


def fingerprint(tree: Tree) -> str:
    """Condense what a run of a service reads."""
    digest = hashlib.sha256()
    for path in sorted(filter(_is_run, tree)):
        digest.update(repr((path, _as_run(path, tree[path]))).encode())
    return digest.hexdigest()


def _is_run(path: str) -> bool:
    return not READ_BY_PEOPLE.match(path)


def _as_run(path: str, content: bytes) -> object:
    if path == PROJECT_FILE:
        document = tomllib.loads(content.decode())
        for key in DESCRIPTION:
            document["project"].pop(key, None)
        return document
    if path == ".env.example":
        return [line for line in content.splitlines() if not line.startswith(b"#")]
    return content
