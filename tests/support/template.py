"""The template as it stands on disk: its settings, its questions, its pieces and its files."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml
from jinja2 import FileSystemLoader, StrictUndefined, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import SandboxedEnvironment

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""

SUFFIX = ".jinja"
ANSWERS_FILE = ".copier-answers.yml"
ANSWERS_TEMPLATE = "{{_copier_conf.answers_file}}.jinja"
LITTER = re.compile(r"(^|/)(__pycache__|\.[a-z]+_cache|\.venv|\.local)(/|$)|\.py[co]$|^uv\.lock$")
CONDITION = re.compile(r"\{% if '(\w+)' in active %\}")
END = "{% endif %}"

Answers = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """One entry of copier.yml that is asked, or computed when `when` is literally false."""

    name: str
    type: str = "yaml"
    help: str = ""
    default: Any = None
    choices: tuple[Any, ...] = ()
    validator: str = ""
    when: str | bool = True
    secret: bool = False

    @property
    def computed(self) -> bool:
        """Whether it is never asked and never stored."""
        return self.when is False

    @property
    def logic(self) -> tuple[str, ...]:
        """The Jinja texts that decide its answer."""
        return tuple(
            text for text in (self.default, self.validator, self.when) if isinstance(text, str)
        )


@dataclass(frozen=True)
class Piece:
    """One entry of extensions/manifest.yml."""

    name: str
    when: str
    paths: tuple[str, ...]
    once: bool = False


@dataclass(frozen=True)
class Block:
    """Lines of a file that stand or fall together: under one piece, or always."""

    piece: str | None
    lines: tuple[str, ...]


class Template:
    """Reads the template under `root`; nothing is rendered here.

    Raises:
        FileNotFoundError: there is no copier.yml under `root`.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        document = yaml.safe_load((root / "copier.yml").read_text("utf-8"))
        self.settings: dict[str, Any] = {
            key.removeprefix("_"): value for key, value in document.items() if key.startswith("_")
        }
        self.questions: dict[str, Question] = {
            name: _question(name, entry)
            for name, entry in document.items()
            if not name.startswith("_")
        }
        self._variables: dict[str, frozenset[str]] = {}

    @property
    def asked(self) -> list[Question]:
        """The questions that somebody answers, in their order."""
        return [question for question in self.questions.values() if not question.computed]

    @cached_property
    def pieces(self) -> dict[str, Piece]:
        """The optional pieces by name."""
        manifest = yaml.safe_load((self.root / "extensions/manifest.yml").read_text("utf-8"))
        return {
            name: Piece(name, entry["when"], tuple(entry["paths"]), entry.get("once", False))
            for name, entry in manifest.items()
        }

    @property
    def directory(self) -> Path:
        """What is copied: the root of the rendered service."""
        return self.root / str(self.settings["subdirectory"])

    @cached_property
    def files(self) -> tuple[str, ...]:
        """All files below `directory` as they are named there, without litter."""
        paths = (path for path in self.directory.rglob("*") if path.is_file())
        names = (path.relative_to(self.directory).as_posix() for path in paths)
        return tuple(sorted(name for name in names if not LITTER.search(name)))

    @cached_property
    def environment(self) -> SandboxedEnvironment:
        """The Jinja environment that Copier builds for this template."""
        return make_environment(self.root, self.settings["envops"])

    def read(self, name: str) -> str:
        """Give the text of one of `files`."""
        return (self.directory / name).read_text("utf-8")

    def owner(self, rendered_path: str) -> Piece | None:
        """Give the piece to which a rendered file belongs, if it is optional.

        Of several, one in the directory of another, it is the innermost one.
        """
        file = f"/{rendered_path}"
        owning = [
            (len(path), piece)
            for piece in self.pieces.values()
            for path in piece.paths
            if file == path or file.startswith(f"{path}/")
        ]
        return max(owning, key=lambda each: each[0])[1] if owning else None

    def variables(self, text: str) -> frozenset[str]:
        """Name the variables that a Jinja text reads, also through what it includes."""
        if text not in self._variables:
            tree = self.environment.parse(text)
            names = set(find_undeclared_variables(tree))
            for included in self._included(tree):
                names |= self.variables(included.read_text("utf-8"))
            self._variables[text] = frozenset(names)
        return self._variables[text]

    def asked_behind(self, names: Iterable[str]) -> frozenset[str]:
        """Follow computed questions back to the asked ones from which they come."""
        found: set[str] = set()
        for name in names:
            question = self.questions.get(name)
            if question is None:
                continue
            if question.computed:
                found |= self.asked_behind(
                    variable for text in question.logic for variable in self.variables(text)
                )
            else:
                found.add(name)
        return frozenset(found)

    def pieces_asked_for(self, text: str) -> frozenset[str] | None:
        """Name the pieces that a text asks for by `'name' in active`.

        Returns:
            None when the text reads `active` in another way too.
        """
        tree = self.environment.parse(text)
        names = [name for name in tree.find_all(nodes.Name) if name.name == "active"]
        asked = list(_membership_tests(tree))
        return frozenset(asked) if len(asked) == len(names) else None

    def reads(self, name: str) -> tuple[frozenset[str], frozenset[str]]:
        """Name the asked questions that a file prints, and the pieces on which it depends."""
        owner = self.owner(rendered_name(name))
        pieces = {owner.name} if owner else set()
        if not name.endswith(SUFFIX):
            return frozenset(), frozenset(pieces)
        text = self.read(name)
        asked_for = self.pieces_asked_for(text)
        if asked_for is None:
            raise ValueError(f"{name} may read `active` by `'name' in active` only")
        names = self.asked_behind(self.variables(text) - {"active"})
        return names, frozenset(pieces | (asked_for & self.pieces.keys()))

    def blocks(self, name: str) -> list["Block"]:
        """Take a file apart into what stands under each condition.

        Raises:
            ValueError: a condition is nested, or does not stand on a line of its own.
        """
        blocks: list[Block] = []
        piece: str | None = None
        lines: list[str] = []
        for line in [*self.read(name).splitlines(), None]:
            begins = CONDITION.fullmatch(line) if line is not None else None
            ends = line == END
            if line is not None and not begins and not ends:
                if re.search(r"\{%-? *(if|el|endif)", line):
                    raise ValueError(f"{name}: {line!r} is not alone on its line")
                lines.append(line)
                continue
            if bool(begins and piece) or (ends and piece is None):
                raise ValueError(f"{name}: {line!r} is nested")
            if lines:
                blocks.append(Block(piece, tuple(lines)))
            piece, lines = (begins.group(1) if begins else None), []
        return blocks

    def switches(self, name: str) -> frozenset[str]:
        """Name the asked questions on which the existence and the content of a file depend."""
        owner = self.owner(rendered_name(name))
        found = set(self.asked_behind(self.variables(owner.when))) if owner else set()
        if not name.endswith(SUFFIX):
            return frozenset(found)
        text = self.read(name)
        names = set(self.variables(text))
        pieces = self.pieces_asked_for(text)
        if pieces is not None:
            names.discard("active")
            for piece in pieces & self.pieces.keys():
                names |= self.variables(self.pieces[piece].when)
        return frozenset(found | self.asked_behind(names))

    def _included(self, tree: nodes.Template) -> Iterator[Path]:
        for include in tree.find_all(nodes.Include):
            parts = include.template
            nodes_of = parts.nodes if isinstance(parts, nodes.Concat) else [parts]
            # A name that is put together from answers may be any that fits.
            pattern = "".join(
                str(part.value) if isinstance(part, nodes.Const) else "*" for part in nodes_of
            )
            yield from sorted(self.root.glob(pattern))


def rendered_name(name: str) -> str:
    """Give the path in the rendered service of a file of the template."""
    return ANSWERS_FILE if name == ANSWERS_TEMPLATE else name.removesuffix(SUFFIX)


def make_environment(
    root: Path,
    envops: Mapping[str, Any],
    base: type[SandboxedEnvironment] = SandboxedEnvironment,
) -> SandboxedEnvironment:
    """Build a Jinja environment as Copier 9.19 does, for a template that needs no trust."""
    options = {**envops}
    if options.get("undefined") == "jinja2.StrictUndefined":
        options["undefined"] = StrictUndefined
    environment = base(
        loader=FileSystemLoader(root),
        extensions=["jinja2_ansible_filters.AnsibleCoreFiltersExtension"],
        **options,
    )
    # The manifest is read for each combination, and nothing changes what was read.
    environment.filters["from_yaml"] = cache(environment.filters["from_yaml"])
    return environment


def _question(name: str, entry: Mapping[str, Any]) -> Question:
    fields = {key: entry[key] for key in Question.__dataclass_fields__ if key in entry}
    choices = entry.get("choices", ())
    values = choices.values() if isinstance(choices, Mapping) else choices
    return Question(**{**fields, "name": name, "choices": tuple(values)})


def _membership_tests(tree: nodes.Template) -> Iterator[str]:
    for compare in tree.find_all(nodes.Compare):
        operand = compare.ops[0]
        if (
            isinstance(compare.expr, nodes.Const)
            and operand.op in ("in", "notin")
            and isinstance(operand.expr, nodes.Name)
            and operand.expr.name == "active"
        ):
            yield str(compare.expr.value)
