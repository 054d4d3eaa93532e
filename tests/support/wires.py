"""Finds every wire in the source of a service, and gives the source without it.

A wire is what makes a part of the code take part in the running service, or lets it refuse
something: a step of the middleware, a dependency, a registration, a context that is entered, a
value that production refuses. Nothing lists them: they are found by what they look like, so that a
new one is found by itself.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

NOTHING = "\n\n\nasync def nothing_instead() -> None:\n    return None\n"
"""What a dependency is replaced by; it stands after the module's docstring."""

LANGUAGE = re.compile(
    r"(abstract|class|static)method|(async)?contextmanager|(lru_)?cache|(cached_)?property|setter"
    r"|dataclass|overload|override|total_ordering|wraps"
)
"""Decorators that change what a function is, and attach it to nothing."""

ATTACHING = re.compile(
    r"^_?(add_\w*(handler|processor|hook|route|middleware|callback|listener)|append_constraint"
    r"|apply_defaults|after_\w+|count_by_default|describe\w*|enter_\w*context|hand_over\w*"
    r"|include_router|install|listen|public|push_async_callback|register\w*|reschedule"
    r"|set_(client|on_retry_hooks|tracer_provider)|setFormatter|setLevel|signal|watch\w*"
    r"|when_\w+|configure_logging|find_tasks|unlimited|start|kept_in|heard_by|name_issuer"
    r"|enable_row_security|tell_database|never_store|audit\w*|unexpected)$"
)
"""Calls that attach something to something else, when nobody wants what they give."""

REFUSING = re.compile(
    r"^_?(admit|check|claim|confine|deny|ensure|exceeded|forbid|guard|judge|limit|parse"
    r"|refuse|reject|require|validate|verify)(_\w+)?$"
)
"""Calls that raise when something is not as it should be, and give nothing."""

_QUOTES = "'\""

HOLDING = ("attempt", "suppress", "warnings.catch_warnings")
"""Contexts that guard nothing: tests see them by what they leave out."""

OPTIONED = ("FastAPI", "uvicorn.run", "context.configure", "sentry_sdk.init", "create_async_engine")
"""Calls of libraries each option of which is a decision of this service."""

CHAINS = ("processors", "foreign_pre_chain", "shared")
"""Names of lists in which each element does a work of its own."""

UNATTACHED = ("name", "needs")
"""What a piece says of itself, and where it may stand."""


@dataclass(frozen=True)
class Wire:
    """Something that can be taken out.

    Attributes:
        path: the file.
        name: what it is, unique in the file.
        kind: of which sort.
        lines: what runs when it does: itself, the function around it, those that it names.
        words: the names in what is taken out, and around it: tests that know them come first.
        mutated: the file without it.
    """

    path: str
    name: str
    kind: str
    lines: frozenset[int] = field(repr=False)
    words: frozenset[str] = field(repr=False)
    mutated: str = field(repr=False)

    def __str__(self) -> str:
        return f"{self.path}: {self.name}"


@dataclass(frozen=True)
class _Cut:
    kind: str
    node: ast.AST
    what: str
    instead: str
    whole: ast.AST | None = None


def wires_of(path: str, source: str) -> list[Wire]:
    """List the wires of a file, in the order in which they stand there."""
    return list(_File(path, source).wires())


class _File:
    def __init__(self, path: str, source: str) -> None:
        self.path = path
        self.source = source.encode()
        self.tree = ast.parse(source)
        self.parents = {
            child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)
        }

    @cached_property
    def _starts(self) -> list[int]:
        lengths = [0]
        for line in self.source.splitlines(keepends=True):
            lengths.append(lengths[-1] + len(line))
        return lengths

    def wires(self) -> Iterator[Wire]:
        used: dict[str, int] = {}
        cuts = [cut for node in ast.walk(self.tree) for cut in self._cuts(node)]
        for cut in sorted(cuts, key=lambda cut: self._span(cut.node)):
            place = self._place(cut.node)
            name = " ".join(filter(None, [place, f"without {cut.what}"]))
            used[name] = used.get(name, 0) + 1
            if used[name] > 1:
                name = f"{name} ({used[name]})"
            words = {*re.findall(r"\w{3,}", f"{place} {ast.unparse(cut.whole or cut.node)}")}
            lines = {self._functions[word] for word in words & self._functions.keys()}
            lines |= self._around(cut.whole or cut.node)
            yield Wire(
                self.path,
                name,
                cut.kind,
                frozenset(lines),
                frozenset(words),
                self._without(cut),
            )

    def _span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.stmt | ast.keyword)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self._starts[node.lineno - 1] + node.col_offset,
            self._starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def _place(self, node: ast.AST) -> str:
        """Name the functions and classes around a node."""
        names: list[str] = []
        while node in self.parents:
            node = self.parents[node]
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.append(node.name)
        return ".".join(reversed(names))

    def _around(self, node: ast.AST) -> set[int]:
        """Give the lines of a node in a function: its own, and where the function begins."""
        lines = {node.lineno} if isinstance(node, ast.expr | ast.stmt | ast.keyword) else set()
        while node in self.parents:
            node = self.parents[node]
            if isinstance(node, ast.stmt) and not isinstance(node, ast.If | ast.With):
                lines.add(node.lineno)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                return {*lines, _first_line(node)}
            if isinstance(node, ast.Lambda):
                return {*lines, node.lineno}
        return set()

    @cached_property
    def _functions(self) -> dict[str, int]:
        """Give the lines where the functions of the file begin, by their names."""
        return {
            node.name: _first_line(node)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }

    def _without(self, cut: _Cut) -> str:
        start, end = self._span(cut.node)
        text = self.source[:start] + cut.instead.encode() + self.source[end:]
        if "nothing_instead" in cut.instead:
            after = self._span(self.tree.body[0])[1]
            text = text[:after] + NOTHING.encode() + text[after:]
        return text.decode()

    def _cuts(self, node: ast.AST) -> Iterator[_Cut]:
        match node:
            case ast.Call():
                yield from self._calls(node)
            case ast.Expr():
                yield from self._statements(node)
            case ast.If():
                yield from self._refusals(node)
            case ast.With() | ast.AsyncWith():
                yield from self._contexts(node)
            case ast.Assign() | ast.AnnAssign():
                yield from self._sequences(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from self._decorators(node)
            case ast.ClassDef():
                yield from self._decorators(node)
                yield from self._bases(node)

    def _decorators(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    ) -> Iterator[_Cut]:
        for decorator in node.decorator_list:
            if not LANGUAGE.fullmatch(_called(decorator).split(".")[-1]):
                yield _Cut("decorator", decorator, f"@{_short(decorator)}", "(lambda it: it)")

    def _bases(self, node: ast.ClassDef) -> Iterator[_Cut]:
        for base in node.bases if len(node.bases) > 1 else ():
            if not isinstance(base, ast.Subscript):
                yield _Cut("base", base, f"base {_short(base)}", "*()")

    def _calls(self, call: ast.Call) -> Iterator[_Cut]:
        match called := _called(call):
            case "Piece":
                yield from self._parts(call)
            case "Middleware":
                what = f"middleware {_short(call.args[0])}"
                yield _Cut("middleware", call, what, "Middleware(lambda app: app)")
            case "Check" if isinstance(self.parents[call], ast.Tuple):
                name = next(each.value for each in call.keywords if each.arg == "name")
                yield _Cut("check", call, f"check {_short(name)}", "*()")
            case "Depends" | "Security":
                listed = isinstance(self.parents[call], ast.List)
                instead = "*()" if listed else "Depends(nothing_instead)"
                yield _Cut("dependency", call, _short(call), instead)
        for keyword in call.keywords:
            if keyword.arg and called in OPTIONED:
                yield _Cut("option", keyword, f"{keyword.arg} of {called}", "**{}")
            if keyword.arg in CHAINS and isinstance(keyword.value, ast.List):
                yield from self._elements(keyword.value, keyword.arg)

    def _parts(self, piece: ast.Call) -> Iterator[_Cut]:
        for part in piece.keywords:
            if part.arg not in UNATTACHED:
                yield _Cut("piece", part, str(part.arg), "**{}")
            if isinstance(part.value, ast.Dict) and len(part.value.keys) > 1:
                yield from self._handlers(part.value)

    def _handlers(self, handlers: ast.Dict) -> Iterator[_Cut]:
        for key, value in zip(handlers.keys, handlers.values, strict=True):
            if key:
                # Nobody raises this one.
                yield _Cut("piece", key, f"handler of {_short(key)}", "StopIteration", value)

    def _sequences(self, node: ast.Assign | ast.AnnAssign) -> Iterator[_Cut]:
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        name = ast.unparse(target)
        if not isinstance(node.value, ast.List | ast.Tuple):
            return
        of_code = all(isinstance(each, ast.Name | ast.Attribute) for each in node.value.elts)
        if name in CHAINS or (of_code and node in self.tree.body and name != "__all__"):
            yield from self._elements(node.value, name)

    def _elements(self, sequence: ast.List | ast.Tuple, name: str) -> Iterator[_Cut]:
        for element in sequence.elts:
            if not isinstance(element, ast.Starred):
                yield _Cut("element", element, f"{_short(element)} in {name}", "*()")

    def _statements(self, node: ast.Expr) -> Iterator[_Cut]:
        value = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(value, ast.Yield | ast.YieldFrom) and _gives(value) and self._lists(node):
            listed = value.value.elts if isinstance(value.value, ast.Tuple) else [value.value]
            what = f"“{', '.join(_short(each).strip(_QUOTES) for each in listed if each)}”"
            yield _Cut("listed", node, what, "yield from ()")
        if not isinstance(value, ast.Call):
            return
        name = _called(value).split(".")[-1]
        if isinstance(value.func, ast.Call) or ATTACHING.match(name):
            yield _Cut("registration", node, _short(value), "pass")
        elif REFUSING.match(name):
            yield _Cut("refusal", node, _short(value), "pass")

    def _lists(self, node: ast.AST) -> bool:
        """Whether a `yield` stands in a function that lists something."""
        while node in self.parents:
            node = self.parents[node]
            if isinstance(node, ast.AsyncFunctionDef | ast.Lambda | ast.With):
                return False
            if isinstance(node, ast.FunctionDef):
                decorators = [ast.unparse(each) for each in node.decorator_list]
                return not any("contextmanager" in each or "fixture" in each for each in decorators)
        return False

    def _refusals(self, node: ast.If) -> Iterator[_Cut]:
        if len(node.body) == 1 and isinstance(node.body[0], ast.Raise):
            what = f"refusal if {_short(node.test)}"
            yield _Cut("refusal", node.test, what, "False", node.body[0])

    def _contexts(self, node: ast.With | ast.AsyncWith) -> Iterator[_Cut]:
        for item in node.items:
            entered = item.context_expr
            if item.optional_vars is None and _called(entered) not in HOLDING:
                what = f"with {_short(entered)}"
                yield _Cut("context", entered, what, '__import__("contextlib").nullcontext()')


def _gives(value: ast.Yield | ast.YieldFrom) -> bool:
    """Whether there is anything to give: an empty list is what others add to."""
    return not (isinstance(value.value, ast.Tuple) and not value.value.elts)


def _first_line(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return min(each.lineno for each in [node, *node.decorator_list])


def _called(node: ast.AST) -> str:
    return ast.unparse(node.func if isinstance(node, ast.Call) else node)


def _short(node: ast.AST) -> str:
    """Write a node in one line that is not too long."""
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 70 else f"{text[:69]}…"
