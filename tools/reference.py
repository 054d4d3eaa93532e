"""Write docs/reference/ from the template itself: `make docs`.

Each page is a function of files of the repository, so that a test can say whether it is current.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import nodes

from tests.support.matrix import Matrix
from tests.support.requirements import declarations
from tests.support.settings import NAME, PRINTED, settings_of
from tests.support.template import CONDITION, ROOT, SUFFIX, Block, Question, Template
from tools.matrix import COLUMNS, RESULTS, ROWS

DIRECTORY = ROOT / "docs/reference"
ENVIRONMENT_FILE = ".env.example.jinja"

SECTION = re.compile(r"# --- (.*?) -+")
DIFFERS = re.compile(r"\(default: (.*)\)")
VARIABLE = re.compile(r"(# )?([A-Z][A-Z0-9_]*)=(.*)")
IMAGE = re.compile(r"^ *image: ([\w./-]+:[\w.-]+)$", re.MULTILINE)

KINDS = {"bool": "yes or no", "int": "a whole number", "str": "text"}

QUESTIONS = """Generated from `copier.yml`, in the order in which they are asked.
`copier copy --data NAME=VALUE` answers one, `copier update --vcs-ref :current: --data NAME=VALUE`
changes an answer; `.copier-answers.yml` in a service tells the present ones."""

VARIABLES = """Generated from `.env.example` and the settings classes. A service reads the
environment, then `.env`, then (with `vault`) Vault. What is required and missing stops the start,
and so does a value that production refuses: each by its name. Variables that only Compose reads are
in the service's `docker/README.md`. *With* says which answers bring a variable. In a default
`<auth>` stands for the answer, and `<ports.api>` for what `port_base` makes of it: 8000 or, with
5200, 5210; `<ports.frontend>` is 3000 or 5200."""

PIECES = """Generated from `extensions/manifest.yml`: what each piece is called, with which answers
it is on, which files are its own, and in which shared files it has lines. Of a piece marked *once*
the files are the service's own as soon as they are rendered: an update neither changes nor brings
them back."""

COMBINATIONS = """There are {:,} legal combinations of answers. `make test` renders all of them, and
runs services in which each legal pair of answers occurs; `make matrix` runs every combination of
the answers that matter most."""

Cells = Iterable[object]


@dataclass
class Variable:
    """One variable of .env.example: its defaults, by the pieces with which they are so."""

    name: str
    section: str
    elsewhere: str = ""
    defaults: dict[str | None, str] = field(default_factory=dict)


class Reference:
    """The pages of one template, without a trailing newline."""

    def __init__(self, template: Template) -> None:
        self.template = template
        self.matrix = Matrix(template)
        self.settings = settings_of(template)

    def pages(self) -> Mapping[str, str]:
        """Give each page by the name of its file."""
        return {
            "questions.md": self.questions(),
            "variables.md": self.variables(),
            "pieces.md": self.pieces(),
            "support.md": self.support(),
        }

    def questions(self) -> str:
        """What copier.yml asks."""
        parts = [
            "# Questions",
            QUESTIONS,
            "## What the presets set",
            self._presets(),
            *(self._question(question) for question in self.template.asked),
        ]
        return "\n\n".join(parts)

    def variables(self) -> str:
        """What rendered services read from their environment."""
        parts = ["# Variables", VARIABLES]
        for section, found in groupby(self._variables, lambda each: each.section):
            rows = [self._variable(variable) for variable in found]
            parts += [
                f"## {section}",
                _table(("variable", "what it may be", "default", "what for", "with"), rows),
            ]
        return "\n\n".join(parts)

    def pieces(self) -> str:
        """What extensions/manifest.yml names."""
        files: dict[str, list[str]] = {}
        for name in self.template.files:
            for piece in sorted(set(CONDITION.findall(self._text(name)))):
                files.setdefault(piece, []).append(name.removesuffix(SUFFIX))
        rows = [
            (
                f"`{piece.name}`" + (" (once)" if piece.once else ""),
                _code(_condition(piece.when)),
                _lines(piece.paths),
                _lines(f"/{name}" for name in files.get(piece.name, ())),
            )
            for piece in self.template.pieces.values()
        ]
        table = _table(("piece", "on with", "files", "lines in"), rows)
        return "\n\n".join(["# Pieces", PIECES, table])

    def support(self) -> str:
        """What services run on, and which combinations were run."""
        parts = [
            "# What is supported",
            "Generated from `copier.yml`, the compose files and `pyproject.toml` of the template.",
            _table(("", ""), self._systems()),
            "## Which combinations were run",
            COMBINATIONS.format(self.matrix.count()),
            *self._results(),
            "## Packages",
            "The ranges that were tested together. *Development* packages are not in the image.",
            _table(("package", "range", "with", ""), self._packages()),
        ]
        return "\n\n".join(parts)

    def _presets(self) -> str:
        presets = self.matrix.presets()
        names = [
            question.name
            for question in self.template.asked
            if question.name != "preset"
            and len({repr(answers[question.name]) for answers in presets.values()}) > 1
        ]
        rows = [
            (f"[`{name}`](#{name})", *(_value(answers[name]) for answers in presets.values()))
            for name in names
        ]
        return _table(("", *(f"`{preset}`" for preset in presets)), rows)

    def _question(self, question: Question) -> str:
        rows = [("answer", _choices(question)), ("default", self._default(question))]
        if isinstance(question.when, str):
            rows.append(("asked", f"only when {_code(_condition(question.when))}"))
        rows += [("refused", text) for text in self._refusals(question)]
        mark = "" if question.help.endswith(("?", ")")) else "."
        return f"## {question.name}\n\n{question.help}{mark}\n\n{_table(('', ''), rows)}"

    def _default(self, question: Question) -> str:
        default = question.default
        if not isinstance(default, str) or "{" not in default:
            return _value(default)
        read = self.template.asked_behind(self.template.variables(default))
        if "preset" not in read:
            return f"made of {', '.join(_code(name) for name in sorted(read))}"
        values: dict[str, list[str]] = {}
        for preset, answers in self.matrix.presets().items():
            values.setdefault(_value(answers[question.name]), []).append(preset)
        usual = max(values, key=lambda value: len(values[value]))
        others = [
            f"{value} in {', '.join(map(_code, presets))}"
            for value, presets in values.items()
            if value != usual
        ]
        asks = ", ".join(_code(name) for name in sorted(read - {"preset"}))
        return "; ".join([usual, *others, *([f"depends on {asks} too"] if asks else [])])

    def _refusals(self, question: Question) -> Iterator[str]:
        """The messages of a validator, with the names of what is printed in them."""
        for output in self.template.environment.parse(question.validator).find_all(nodes.Output):
            parts = [
                part.data if isinstance(part, nodes.TemplateData) else _printed(part)
                for part in output.nodes
            ]
            if text := " ".join("".join(parts).split()):
                yield _escaped(text)

    @cached_property
    def _variables(self) -> list[Variable]:
        found: dict[str, Variable] = {}
        section = elsewhere = ""
        for block in self.template.blocks(ENVIRONMENT_FILE):
            for line in _lines_of(block):
                if begins := SECTION.fullmatch(line):
                    section = begins[1]
                elif variable := VARIABLE.fullmatch(line):
                    known = found.setdefault(variable[2], Variable(variable[2], section))
                    known.defaults[block.piece] = "" if variable[1] else variable[3].strip('"')
                    known.elsewhere, elsewhere = elsewhere, ""
                elif differs := DIFFERS.search(line):
                    elsewhere = differs[1]
        return list(found.values())

    def _variable(self, variable: Variable) -> tuple[str, ...]:
        setting = self.settings[variable.name]
        default = "**required**" if setting.required else self._defaults(variable)
        whens = [
            _code(_condition(self.template.pieces[piece].when)) if piece else "always"
            for piece in setting.pieces
        ]
        return (
            f"`{variable.name}`",
            setting.kind,
            default,
            _escaped(setting.description),
            " or ".join(whens),
        )

    def _defaults(self, variable: Variable) -> str:
        if len(set(variable.defaults.values())) == 1:
            [default] = {_value(value) for value in variable.defaults.values()}
            return ", ".join(filter(None, (default, variable.elsewhere)))
        return ", ".join(
            f"{_value(value)} ({_code(_condition(self.template.pieces[piece].when))})"
            for piece, value in variable.defaults.items()
            if piece
        )

    def _text(self, name: str) -> str:
        try:
            return self.template.read(name)
        except UnicodeDecodeError:
            return ""

    def _systems(self) -> Iterator[tuple[str, str]]:
        versions = self.template.questions["python_version"].choices
        yield "Python", ", ".join(map(str, versions)) + " (the image: `python_version`)"
        yield "Copier", f"{self.template.settings['min_copier_version']} and later, below 10"
        for name in self.template.files:
            if name.startswith("docker/compose/") and (images := IMAGE.findall(self._text(name))):
                title = Path(name).name.partition(".")[0]
                yield f"compose: {title}", ", ".join(map(_code, dict.fromkeys(images)))

    def _packages(self) -> Iterator[tuple[str, ...]]:
        for each in sorted(declarations(self.template), key=lambda each: each.package):
            piece = each.piece and self.template.pieces[each.piece]
            yield (
                f"`{each.package}`",
                _code(each.requirement.specifier),
                _code(_condition(piece.when)) if piece else "always",
                "" if each.in_production else "development",
            )

    def _results(self) -> Iterator[str]:
        if not RESULTS.is_file():
            yield "No results are kept yet: `make matrix` runs it, `make report` keeps the results."
            return
        yield from shown(json.loads(RESULTS.read_text("utf-8")))


def shown(results: Mapping[str, Any]) -> Iterator[str]:
    """Draw what `make report` has kept."""
    yield (
        "What had passed, as it was then, when `make report` drew [all of it](../matrix.html); the "
        f"last run was of {_code(results['commit'])}, on {results['date']}."
    )
    yield _table(("services", "passed", "of"), results["sets"])
    yield "Of the legal groups of answers, in the services that have passed:"
    yield _table(("", "run", "of"), results["covered"])
    names = ", ".join(map(_code, (*COLUMNS, *ROWS)))
    yield f"Every combination of {names}, with the seconds that its tests took:"
    cells = {(tuple(each["row"]), tuple(each["column"])): each for each in results["grid"]}
    heads = list(dict.fromkeys(column for _, column in cells))
    rows = [
        (
            "/".join(_mark(value) for value in row),
            *(_cell(cells.get((row, head))) for head in heads),
        )
        for row in dict.fromkeys(row for row, _ in cells)
    ]
    yield _table(("", *("/".join(_mark(value) for value in head) for head in heads)), rows)


def _cell(result: Mapping[str, Any] | None) -> str:
    if result is None:
        return "not legal"
    if result["passed"] is None:
        return "not run"
    return f"{result['seconds']:.0f}" if result["passed"] else "**failed**"


def _mark(value: object) -> str:
    return _value(value) if isinstance(value, bool) else str(value)


def _lines_of(block: Block) -> Iterator[str]:
    """The lines of a block, with the names of the answers that are printed in them."""
    for line in block.lines:
        named = line.replace("{{ external_api }}", "The outside API")
        named = named.replace("{{ external_api | upper }}", NAME)
        yield PRINTED.sub(lambda found: f"<{found[1]}>", named)


def _choices(question: Question) -> str:
    if question.choices:
        return ", ".join(_code(choice) for choice in question.choices)
    return KINDS[question.type]


def _condition(text: str) -> str:
    return " ".join(text.removeprefix("{{").removesuffix("}}").split())


def _printed(node: nodes.Node) -> str:
    return f"<{node.name}>" if isinstance(node, nodes.Name) else "…"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value in (None, "") else _code(value)


def _code(value: object) -> str:
    return f"`{value}`".replace("|", "\\|")


def _escaped(text: str) -> str:
    """Make a text stand in a cell as it is, but for what is between two backticks."""
    text = text.replace("\\", "\\\\").replace("<", "&lt;").replace(">", "&gt;")
    single = "|*`" if text.count("`") % 2 else "|*"
    return re.sub(f"([{single}])", r"\\\1", text)


def _lines(paths: Iterable[str]) -> str:
    return "<br>".join(_code(path) for path in paths)


def _table(head: Cells, rows: Iterable[Cells]) -> str:
    names = [str(name) for name in head]
    lines = [names, ["---"] * len(names), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Write all pages."""
    for name, text in Reference(Template()).pages().items():
        (DIRECTORY / name).write_text(f"{text}\n", "utf-8")
        sys.stdout.write(f"docs/reference/{name}\n")


if __name__ == "__main__":
    main()
