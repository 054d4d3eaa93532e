"""What files import, and whether it is there whenever they are.

No combination is left out, and few are looked at: whether a file and what it imports go together
depends on the pieces of the two only.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, cached_property

from tests.support.contents import Contents
from tests.support.imports import (
    DEVELOPMENT_ONLY,
    OWN_PACKAGES,
    external_packages,
    imported_modules,
)
from tests.support.matrix import Matrix
from tests.support.render import Renderer
from tests.support.requirements import declarations
from tests.support.template import Answers, Template

Reader = Callable[[str], Iterable[str]]
"""Names modules or packages that a Python text imports."""

NAMED = re.compile(
    r"(?<![\w./<{-])(?:app|deploy|docker|frontend|migrations|tests|\.github)/[\w./-]*\w"
)
"""A file or directory that a text names, from the top of the service."""

BY_HAND = {"deploy/kubernetes/overlays/production/master-key"}
"""What texts name and only its owner makes."""


class Closure:
    """Compares what the Python files of a template import with what services have."""

    def __init__(self, template: Template) -> None:
        self.template = template
        self.matrix = Matrix(template)
        self.renderer = Renderer(template)
        self.paths = [path for path in sorted(self.renderer.sources) if path.endswith(".py")]
        self.declarations = declarations(template)
        self._contents = Contents(self.matrix, self.renderer)
        self._modules: Reader = cache(lambda text: frozenset(imported_modules(text)))
        self._packages: Reader = cache(external_packages)
        self._ways = cache(self._ways_of)

    def unresolved(self) -> Iterator[str]:
        """Name each import of a service's own module that is missing for some answers."""
        for path in self.paths:
            for module in sorted(self._ever_read(path, self._modules)):
                if module.partition(".")[0] not in OWN_PACKAGES:
                    continue
                place = module.replace(".", "/")
                found = map(self.renderer.listed, (f"{place}.py", f"{place}/__init__.py"))
                files = {file for file in found if file}
                for answers in self._ways(self._pieces_of(path, *files)):
                    missing = not any(self._is_there(file, answers) for file in files)
                    if missing and module in self._read(path, answers, self._modules):
                        yield f"{path} imports {module}, which is not rendered: {_on(answers)}"
                        break

    def undeclared(self) -> Iterator[str]:
        """Name each package that is not installed where it is imported, for some answers."""
        for path in self.paths:
            in_production = path.startswith("app/") and not path.startswith(DEVELOPMENT_ONLY)
            for package in sorted(self._ever_read(path, self._packages)):
                declared = {
                    each.piece
                    for each in self.declarations
                    if each.package == package and (each.in_production or not in_production)
                }
                if None in declared:
                    continue
                pieces = frozenset(piece for piece in declared if piece)
                for answers in self._ways(self._pieces_of(path) | pieces):
                    missing = not pieces & {*answers["active"]}
                    if missing and package in self._read(path, answers, self._packages):
                        yield f"{path} imports {package}, which is not declared: {_on(answers)}"
                        break

    def unused(self) -> Iterator[str]:
        """Name each package that is declared and, for some answers, imported by no file."""
        for each in self.declarations:
            files = self._importing[each.package]
            if any(not self._pieces_of(file) for file in files):
                continue  # A file that is always there, and always the same.
            pieces = frozenset({each.piece} if each.piece else ())
            for answers in self._ways(self._pieces_of(*files) | pieces):
                if pieces <= {*answers["active"]} and not any(
                    each.package in self._read(file, answers, self._packages) for file in files
                ):
                    yield f"{each.package} is declared and not imported: {_on(answers)}"
                    break

    def unfounded(self) -> Iterator[str]:
        """Name each file of which a text speaks and which, for some answers, is not there."""
        texts = [path for path in sorted(self.renderer.sources) if path.endswith(".md")]
        for path in texts:
            for block in self.template.blocks(self.renderer.sources[path]):
                for name in sorted({*NAMED.findall("\n".join(block.lines))} - BY_HAND):
                    yield from self._unfounded(path, block.piece, name)

    def _unfounded(self, path: str, piece: str | None, name: str) -> Iterator[str]:
        """Say for which answers, if any, a text speaks of a file or directory in vain."""
        files = [file for file in self.renderer.sources if f"{file}/".startswith(f"{name}/")]
        if not files:
            yield f"{path} names {name}, which is nowhere"
            return
        whole = self.template.owner(name)
        owners = {whole} if whole else {self.template.owner(file) for file in files}
        if None in owners:
            return
        there = {owner.name for owner in owners if owner}
        text = self.template.owner(path)
        said = {*filter(None, (piece, text and text.name))}
        for answers in self._ways(frozenset(there | said)):
            active = {*answers["active"]}
            if said <= active and not there & active:
                yield f"{path} names {name}, which is not rendered: {_on(answers)}"
                return

    def imported(self) -> set[str]:
        """Name all packages that any file imports."""
        return set(self._importing)

    @cached_property
    def _importing(self) -> Mapping[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for path in self.paths:
            for package in self._ever_read(path, self._packages):
                found[package].add(path)
        return found

    def _ever_read(self, path: str, read: Reader) -> set[str]:
        return {name for content in self._contents.of(path) for name in read(content.text)}

    def _read(self, path: str, answers: Answers, read: Reader) -> Iterable[str]:
        """What a file of the service that these answers give imports; nothing when it is none."""
        if not self._is_there(path, answers):
            return ()
        return read(self.renderer.content(path, answers).decode())

    def _is_there(self, path: str, answers: Answers) -> bool:
        return not self.renderer.excluded(answers)(path)

    def _pieces_of(self, *paths: str) -> frozenset[str]:
        """Name the pieces on which it depends whether files are there, and what they say."""
        read = [self.template.reads(self.renderer.sources[path])[1] for path in paths]
        return frozenset[str]().union(*read)

    def _ways_of(self, pieces: frozenset[str]) -> list[Answers]:
        """Give answers for each way in which pieces go together."""
        return [projection.answers for projection in self.matrix.projections(pieces=pieces)]


def _on(answers: Answers) -> str:
    return f"with {', '.join(answers['active'])}"
