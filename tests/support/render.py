"""Rendering in memory with plain Jinja, some hundred times faster than Copier.

`test_equivalence.py` proves that both give the same bytes and the same file modes.
"""

import re
import stat
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Template as JinjaTemplate
from jinja2.sandbox import SandboxedEnvironment

from tests.support.answers import Resolver
from tests.support.template import (
    ANSWERS_FILE,
    INTERPOLATION,
    SUFFIX,
    Answers,
    Template,
    make_environment,
    rendered_name,
)

Tree = Mapping[str, bytes]
"""The content of each file of a rendered service, by path."""


class Renderer:
    """Renders one template; each file once per distinct values of what it reads.

    Args:
        template: what to render.
        environment: another Jinja environment than Copier's, to watch how files are rendered.
    """

    def __init__(
        self, template: Template, environment: type[SandboxedEnvironment] = SandboxedEnvironment
    ) -> None:
        self.template = template
        self.environment = make_environment(template.root, template.settings["envops"], environment)
        self._contents: dict[tuple[str, ...], bytes] = {}
        self._texts: dict[tuple[str, str], JinjaTemplate] = {}
        self._resolver = Resolver(template)
        self._pieces: dict[str, frozenset[str] | None] = {}
        self._excludes: dict[tuple[str, ...], Callable[[str], bool]] = {}

    @cached_property
    def sources(self) -> Mapping[str, str]:
        """The file of the template behind each path that a service can have.

        An answer in a path stands there as in the template; see `named` and `listed`.
        """
        return {rendered_name(name): name for name in self.template.files}

    def named(self, path: str, answers: Answers) -> str:
        """Give one of these paths as it is in the service that these answers give."""
        return INTERPOLATION.sub(lambda found: str(answers[found.group(1)]), path)

    def listed(self, path: str) -> str | None:
        """Give the one of these paths that a path of a service is; None when it is none."""
        if path in self.sources:
            return path
        return next((each for each, made in self._made.items() if made.fullmatch(path)), None)

    @cached_property
    def _made(self) -> Mapping[str, re.Pattern[str]]:
        """What the paths with an answer in them may look like."""
        return {
            path: re.compile("[^/]+".join(map(re.escape, INTERPOLATION.split(path)[::2])))
            for path in self.sources
            if INTERPOLATION.search(path)
        }

    def tree(self, answers: Answers, operation: str = "copy") -> Tree:
        """Render all files of the service that these answers give.

        Args:
            answers: complete, as a `Resolver` gives them.
            operation: `copy` or `update`.
        """
        excluded = self.excluded(answers, operation)
        return {
            self.named(path, answers): self.content(path, answers)
            for path in self.sources
            if not excluded(path)
        }

    def content(self, path: str, answers: Answers) -> bytes:
        """Render one file, whether or not the answers include it."""
        name = self.sources[path]
        if not name.endswith(SUFFIX):
            return self._static(name)
        read = self._reads(name)
        known = {**answers, "active": self._asked_of(name, answers["active"])}
        key = (path, *(repr(known[variable]) for variable in read if variable in known))
        if key not in self._contents:
            jinja = self.environment.get_template(self._template_path(name))
            self._contents[key] = jinja.render(self._context(answers)).encode()
        return self._contents[key]

    def text(self, source: str, name: str, answers: Answers) -> str:
        """Render a text of the template's, such as a part of a file.

        Args:
            source: what to render.
            name: what messages call it.
            answers: complete, as a `Resolver` gives them.
        """
        if (source, name) not in self._texts:
            code = self.environment.compile(source, name=name)
            made = self.environment.template_class
            self._texts[source, name] = made.from_code(
                self.environment, code, self.environment.globals
            )
        return self._texts[source, name].render(self._context(answers))

    def mode(self, path: str) -> int:
        """Give the permission bits of a rendered file."""
        source = self.sources[self.listed(path) or path]
        return stat.S_IMODE((self.template.directory / source).stat().st_mode)

    def write(self, tree: Tree, directory: Path) -> Path:
        """Write a tree to disk as Copier would, and give the directory back."""
        for path, content in tree.items():
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(self.mode(path))
        return directory

    def excluded(self, answers: Answers, operation: str = "copy") -> Callable[[str], bool]:
        """Give the test whether a path is left out for these answers.

        Computed as extensions/excluded.jinja does, without Jinja and YAML.
        """
        key = (operation, *answers["active"])
        if key not in self._excludes:
            off = [
                self._files[piece.name]
                for piece in self.template.pieces.values()
                if piece.name not in answers["active"] or (piece.once and operation == "update")
            ]
            self._excludes[key] = frozenset[str]().union(*off).__contains__
        return self._excludes[key]

    @cached_property
    def _files(self) -> Mapping[str, frozenset[str]]:
        """The files of each piece."""
        return {
            piece.name: frozenset(
                path
                for path in self.sources
                if any(f"/{path}" == own or f"/{path}".startswith(f"{own}/") for own in piece.paths)
            )
            for piece in self.template.pieces.values()
        }

    def _static(self, name: str) -> bytes:
        if (name,) not in self._contents:
            self._contents[(name,)] = (self.template.directory / name).read_bytes()
        return self._contents[(name,)]

    def _asked_of(self, name: str, active: Iterable[str]) -> object:
        """Those of the active pieces that a file asks for, when it only asks for some."""
        if name not in self._pieces:
            self._pieces[name] = self.template.pieces_asked_for(self.template.read(name))
        asked = self._pieces[name]
        return active if asked is None else sorted(asked.intersection(active))

    def _reads(self, name: str) -> Iterable[str]:
        names = self.template.variables(self.template.read(name))
        if "_copier_answers" in names:
            names |= {question.name for question in self.template.asked}
        return sorted(names)

    def _template_path(self, name: str) -> str:
        return (self.template.directory / name).relative_to(self.template.root).as_posix()

    def _context(self, answers: Answers) -> dict[str, Any]:
        return {
            **answers,
            "_copier_answers": {
                "_src_path": str(self.template.root),
                **{
                    question.name: answers[question.name]
                    for question in self.template.asked
                    if self._resolver.is_asked(question, answers)
                },
            },
            # Only what does not depend on the machine: a file that prints more fails here.
            "_copier_conf": {"answers_file": ANSWERS_FILE},
        }
