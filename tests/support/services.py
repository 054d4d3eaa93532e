"""The distinct services that a template gives: what is alike when it runs is run once."""

import hashlib
import itertools
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
"""What of a project's metadata changes nothing when it runs; nothing else asks for `license`."""


Pair = tuple[tuple[str, str], tuple[str, str]]
"""Two answers, each with the name of its question."""


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


def _pairs(answers: Answers, names: list[str]) -> Iterator[Pair]:
    values = [(name, repr(answers[name])) for name in names]
    yield from itertools.combinations(values, 2)


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

        Free answers are only printed, or change addresses for people to open, so each further
        value of them is run with one service: the preset that needs the least.
        """
        usual = {name: self.matrix.resolver.resolve()[name] for name in self._free}
        switched = self._group(
            (projection.answers, projection.combinations)
            for projection in self.matrix.projections(self._switches(), usual)
        )
        written = self._group(
            (self.matrix.resolver.resolve({"preset": "minimal", **answers}), 0)
            for answers in self._free_answers()
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

    @cached_property
    def chosen(self) -> list[Service]:
        """Few of the distinct services, in which each legal pair of answers is run.

        Greedy: the one that brings the most pairs not run yet, until none is left. Services that
        differ by texts only are among them.
        """
        names = sorted(self._switches())
        pairs = {
            service.name: frozenset(_pairs(service.answers, names)) for service in self.distinct
        }
        missing = frozenset[Pair]().union(*pairs.values())
        chosen = [service for service in self.distinct if service.name.startswith("texts")]
        while missing:
            best = max(self.distinct, key=lambda each: len(pairs[each.name] & missing))
            chosen.append(best)
            missing -= pairs[best.name]
        return [service for service in self.distinct if service in chosen]

    def tree(self, service: Service) -> Tree:
        """Render a service."""
        return self.renderer.tree(service.answers)

    def _switches(self) -> frozenset[str]:
        read = [name for path, name in self.renderer.sources.items() if _is_run(path)]
        switches = frozenset[str]().union(*map(self.template.switches, read))
        return switches - self._free

    @property
    def _free(self) -> frozenset[str]:
        return frozenset(self.matrix.texts) | frozenset(self.matrix.spread) | {"license"}

    def _free_answers(self) -> Iterator[Answers]:
        """Each further value of the free answers: texts move together, others one by one."""
        for row in list(self.matrix.text_rows)[1:]:
            yield self.matrix.texts_of(row)
        for name, values in self.matrix.spread.items():
            for value in values[1:]:
                yield {name: value}

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
