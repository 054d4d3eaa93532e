"""Everything that a file of a rendered service can say, over all legal combinations."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import nodes
from jinja2.sandbox import SandboxedEnvironment

from tests.support.matrix import Matrix
from tests.support.render import Renderer
from tests.support.template import END, SUFFIX, Answers, Block

PROSE = (".md", ".example")
"""Files of which each line is read by itself."""


@dataclass(frozen=True)
class Content:
    """One of the things that a file can say.

    Attributes:
        text: the content.
        answers: legal answers that give it.
    """

    text: str
    answers: Answers


class Contents:
    """Gives all distinct contents of each file, rendering as little as possible for it."""

    def __init__(self, matrix: Matrix, renderer: Renderer) -> None:
        self.matrix = matrix
        self.renderer = renderer
        self._sample = cache(matrix.covering)
        self._projections = cache(self._project)

    def of(self, path: str) -> Sequence[Content]:
        """List what a file says in the combinations that have it.

        The answers file repeats every answer, so it has as many contents as there are
        combinations: for it, those that show each pair of answers stand for all. Files whose
        lines are read by themselves are taken apart where a line always stands: whether they are
        tidy on one side of it does not depend on the other, and whole they have too many contents.
        """
        if path.endswith(PROSE) and self.renderer.sources[path].endswith(SUFFIX):
            return [content for part in self._parts(path) for content in part]
        found: dict[bytes, Answers] = {}
        for answers in self._combinations(path):
            if not self.renderer.excluded(answers)(path):
                found.setdefault(self.renderer.content(path, answers), answers)
        return [Content(content.decode(), answers) for content, answers in found.items()]

    def combinations(self, *paths: str) -> Iterable[Answers]:
        """Give answers for each distinct thing that some files say together.

        Printed answers change nothing but where they are printed, so each is seen once and they
        are not crossed with the pieces.
        """
        template = self.renderer.template
        read = [template.reads(self.renderer.sources[path]) for path in paths]
        names = frozenset[str]().union(*(names for names, _ in read))
        pieces = frozenset[str]().union(*(pieces for _, pieces in read))
        owners = [owner.name for path in paths if (owner := template.owner(path))]
        yield from self._ways(names, pieces, owners)

    def _ways(
        self, names: frozenset[str], pieces: Iterable[str], owners: Iterable[str]
    ) -> Iterator[Answers]:
        yield from self._projections(names - self.matrix.free, frozenset(pieces))
        for name in sorted(names & self.matrix.free):
            yield from self._projections(frozenset({name}), frozenset(owners))

    def _project(self, names: frozenset[str], pieces: frozenset[str]) -> list[Answers]:
        return [each.answers for each in self.matrix.projections(names, pieces=pieces)]

    def _parts(self, path: str) -> Iterator[list[Content]]:
        """List what each part of a text says, from one line that always stands to the next."""
        template, name = self.renderer.template, self.renderer.sources[path]
        owner = template.owner(path)
        always = {owner.name} if owner else set[str]()
        for number, blocks in enumerate(parts_of(template.blocks(name)), start=1):
            source = "".join(map(_source, blocks))
            pieces = {block.piece for block in blocks if block.piece} | always
            names = template.asked_behind(template.variables(source) - {"active"})
            found: dict[str, Answers] = {}
            for answers in self._ways(names, pieces, always):
                if always <= {*answers["active"]}:
                    text = self.renderer.text(source, f"{name}, part {number}{SUFFIX}", answers)
                    found.setdefault(text, answers)
            yield [Content(text, answers) for text, answers in found.items()]

    def _combinations(self, path: str) -> Iterable[Answers]:
        name = self.renderer.sources[path]
        template = self.renderer.template
        if name.endswith(SUFFIX) and "_copier_answers" in template.variables(template.read(name)):
            return self._sample()
        return self.combinations(path)


def parts_of(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """Cut a text at the lines that always stand and are not empty; each is in both its parts."""
    part: list[Block] = []
    for block in blocks:
        lines = list(block.lines)
        last = max((number for number, line in enumerate(lines) if line), default=-1)
        if block.piece or last < 0:
            part.append(block)
            continue
        yield [*part, Block(None, tuple(lines[: last + 1]))]
        part = [Block(None, tuple(lines[last:]))]
    yield part


def _source(block: Block) -> str:
    text = "".join(f"{line}\n" for line in block.lines)
    return f"{{% if '{block.piece}' in active %}}\n{text}{END}\n" if block.piece else text


class BranchRecorder(SandboxedEnvironment):
    """A Jinja environment that notes which way each condition went."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conditions: set[str] = set()
        self.taken: set[tuple[str, bool]] = set()
        self.globals["_note_branch"] = self._note

    def dead_branches(self) -> list[str]:
        """List the conditions that never were true, or never false."""
        return sorted(
            f"{condition} is never {str(outcome).lower()}"
            for condition in self.conditions
            for outcome in (True, False)
            if (condition, outcome) not in self.taken
        )

    def _note(self, condition: str, outcome: Any) -> Any:
        self.taken.add((condition, bool(outcome)))
        return outcome

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        if name is None or not name.endswith(SUFFIX):
            return tree
        for position, branch in enumerate(tree.find_all((nodes.If, nodes.CondExpr))):
            condition = f"{name}: condition {position + 1}, line {branch.lineno},"
            self.conditions.add(condition)
            function = nodes.Name("_note_branch", "load", lineno=branch.lineno)
            arguments = [nodes.Const(condition), branch.test]  # type: ignore[attr-defined]
            branch.test = nodes.Call(  # type: ignore[attr-defined]
                function, arguments, [], None, None, lineno=branch.lineno
            ).set_environment(self)
        return tree
