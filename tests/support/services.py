"""The distinct services that a template gives: what is alike when it runs is run once."""

import hashlib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from tests.support.matrix import Matrix
from tests.support.render import Renderer, Tree
from tests.support.requirements import PROJECT_FILE
from tests.support.template import Answers, Template

READ_BY_PEOPLE = re.compile(
    r"README\.md|AGENTS\.md|LICENSE|Makefile|docker/|docker-compose|\.(github|vscode)/|\.copier"
    r"|\.(dockerignore|editorconfig|gitattributes|gitignore|gitlab-ci\.yml|pre-commit-config\.yaml)"
)
"""Files that a running service, its tests, its types and its style do not read."""

DESCRIPTION = ("name", "description", "authors", "license", "license-files")
"""What of a project's metadata changes nothing when it runs."""


@dataclass(frozen=True)
class Service:
    """One of the services that differ when they run.

    Attributes:
        name: made of the answers that tell it from the others.
        answers: one of the combinations that give it.
        combinations: how many combinations give it.
    """

    name: str
    answers: Answers
    combinations: int


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
    def distinct(self) -> list[Service]:
        """One service for each thing that a run can be like.

        Texts are only printed, so each further row of them is run with one service: the preset
        that needs the least.
        """
        usual = {name: self.matrix.resolver.resolve()[name] for name in self.matrix.texts}
        switched = self._group(
            (projection.answers, projection.combinations)
            for projection in self.matrix.projections(self._switches(), usual)
        )
        written = self._group(
            (self.matrix.resolver.resolve({"preset": "minimal", **self.matrix.texts_of(row)}), 0)
            for row in list(self.matrix.text_rows)[1:]
        )
        telling = [
            name
            for name in sorted(self._switches())
            if len({repr(service.answers[name]) for service in switched.values()}) > 1
        ]
        return [
            *(
                Service(_name(service.answers, telling), service.answers, service.combinations)
                for service in switched.values()
            ),
            *(
                Service(f"texts{number}", service.answers, service.combinations)
                for number, (key, service) in enumerate(written.items(), 1)
                if key not in switched
            ),
        ]

    def tree(self, service: Service) -> Tree:
        """Render a service."""
        return self.renderer.tree(service.answers)

    def _switches(self) -> frozenset[str]:
        read = [name for path, name in self.renderer.sources.items() if _is_run(path)]
        switches = frozenset[str]().union(*map(self.template.switches, read))
        return switches - self.matrix.texts.keys()

    def _group(self, combinations: Iterator[tuple[Answers, int]]) -> dict[str, Service]:
        found: dict[str, Service] = {}
        for answers, count in combinations:
            key = fingerprint(self.renderer.tree(answers))
            known = found.get(key, Service("", answers, 0))
            found[key] = Service("", known.answers, known.combinations + count)
        return found


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


def _name(answers: Answers, telling: list[str]) -> str:
    return "-".join(
        (name if answers[name] else f"no_{name}")
        if isinstance(answers[name], bool)
        else str(answers[name])
        for name in telling
    )
