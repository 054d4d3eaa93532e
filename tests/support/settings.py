"""The settings classes of services, read off their source: nothing is imported or rendered."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from tests.support.template import SUFFIX, Template

FILE = re.compile(r"app/core/(?!registry|development).*\.py")
CLASS = re.compile(r"(Settings|Address)$")
OF_SETTINGS = re.compile(r"^class \w*(Settings|Address)\(|^\w+ = Annotated\[", re.MULTILINE)
PRINTED = re.compile(r"\{\{ *([\w.]+)[^}]*\}\}")
"""An answer that is printed, or a part of it."""

NAME = "NAME"
"""Stands for the answer to `external_api` in names of variables."""

TYPES = {
    "SecretStr": "secret text",
    "Path": "path of a file",
    "bool": "`true` or `false`",
    "dict": "names, or a JSON object",
    "float": "number",
    "int": "whole number",
    "str": "text",
    "tuple": "list, separated by commas",
}


@dataclass(frozen=True)
class Setting:
    """One field of a settings class.

    Attributes:
        kind: what it may be, in words.
        description: what it is for.
        required: whether the service stops at its start without it.
        pieces: with which of them it is there; None stands for always.
    """

    kind: str
    description: str
    required: bool
    pieces: tuple[str | None, ...]


@dataclass(frozen=True)
class _Field:
    name: str
    annotation: ast.expr
    call: ast.Call


def settings_of(template: Template) -> dict[str, Setting]:
    """Give the settings of all pieces, by the name of their variable."""
    modules = _Modules(template)
    found: dict[str, Setting] = {}
    for path in modules.parsed:
        owner = template.owner(path)
        for each in modules.fields(path):
            name = each.name.upper()
            setting = modules.setting(path, each, owner.name if owner else None)
            found[name] = _joined(found[name], setting) if name in found else setting
    return found


def _joined(known: Setting, other: Setting) -> Setting:
    """One setting that several pieces bring, each with values of its own."""
    kinds = dict.fromkeys((known.kind, other.kind))
    return replace(known, kind=", ".join(kinds), pieces=(*known.pieces, *other.pieces))


class _Modules:
    """The modules of the foundation that define settings, by their paths in a service."""

    def __init__(self, template: Template) -> None:
        self.parsed: Mapping[str, ast.Module] = {
            name.removesuffix(SUFFIX): ast.parse(_without_jinja(text))
            for name in template.files
            if FILE.match(name) and OF_SETTINGS.search(text := template.read(name))
        }

    def fields(self, path: str) -> Iterator[_Field]:
        """Give the fields of the settings classes in a module."""
        for statement in self.parsed[path].body:
            if not isinstance(statement, ast.ClassDef) or not CLASS.search(statement.name):
                continue
            for each in statement.body:
                match each:
                    case ast.AnnAssign(
                        target=ast.Name(id=name),
                        annotation=annotation,
                        value=ast.Call(func=ast.Name(id="Field")) as call,
                    ):
                        yield _Field(name, annotation, call)

    def setting(self, path: str, each: _Field, piece: str | None) -> Setting:
        """Say what a field is, in words."""
        given = {key.arg: key.value for key in each.call.keywords if key.arg}
        required = not each.call.args and "default_factory" not in given
        kind = self._kind(path, each.annotation) + _limits(given)
        return Setting(kind, _text(given["description"]), required, (piece,))

    def _kind(self, path: str, annotation: ast.expr) -> str:
        """Say in words what a field may be."""
        match annotation:
            case ast.BinOp(left=left):  # … | None
                return self._kind(path, left)
            case ast.Subscript(value=ast.Name(id="Literal"), slice=values):
                chosen = values.elts if isinstance(values, ast.Tuple) else [values]
                return ", ".join(f"`{ast.literal_eval(value)}`" for value in chosen)
            case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[first, *_])):
                return self._kind(path, first)
            case ast.Subscript(value=ast.Name(id=name)):
                return TYPES[name]
            case ast.Name(id=name):
                where, alias = self._alias(path, name)
                return self._kind(where, alias) if alias else TYPES[name]
        raise LookupError(f"{path}: no words for {ast.unparse(annotation)}")

    def _alias(self, path: str, name: str) -> tuple[str, ast.expr | None]:
        """Find what a name stands for, in the module at a path or where that imports it from."""
        for statement in self.parsed[path].body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=assigned)], value=value) if assigned == name:
                    return path, value
                case ast.ImportFrom(module=module, names=names) if module:
                    source = f"{module.replace('.', '/')}.py"
                    if source in self.parsed and name in [each.name for each in names]:
                        return self._alias(source, name)
        return path, None


def _limits(given: Mapping[str, ast.expr]) -> str:
    found = {key: ast.literal_eval(given[key]) for key in ("ge", "gt", "le") if key in given}
    words = {"ge": "from {}", "gt": "above {}", "le": "to {}"}
    return "".join(f" {words[key].format(value)}" for key, value in found.items())


def _text(node: ast.expr) -> str:
    """Give a text, without what is put into it."""
    if isinstance(node, ast.JoinedStr):
        parts = [part.value for part in node.values if isinstance(part, ast.Constant)]
        return "".join(map(str, parts)).rstrip(": ")
    return str(ast.literal_eval(node))


def _without_jinja(text: str) -> str:
    kept = [line for line in text.splitlines() if not line.startswith("{%")]
    return PRINTED.sub(
        lambda found: NAME if found[1] == "external_api" else found[1], "\n".join(kept)
    )
