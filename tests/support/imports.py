"""What the Python files of a rendered service import, and what its project declares."""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import PurePosixPath

from tests.support.requirements import normalised

OWN_PACKAGES = ("app", "tests", "migrations")
DEVELOPMENT_ONLY = "app/core/development/"
"""Code that never runs in production, so it may use the development dependencies."""


def imported_modules(text: str) -> Iterator[str]:
    """Name every module that a Python text imports, also in functions and for types only."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def external_packages(text: str) -> set[str]:
    """Name the distributions from which a Python text imports.

    Raises:
        LookupError: no installed distribution has an imported module.
    """
    roots = {module.partition(".")[0] for module in imported_modules(text)}
    external = roots - set(OWN_PACKAGES) - sys.stdlib_module_names
    return {_distribution(root) for root in external}


def unresolved_imports(tree: Mapping[str, bytes]) -> Iterator[str]:
    """Name each import of the service's own that leads to no file of it."""
    modules = set(_own_modules(tree))
    for path, text in _python_files(tree):
        for module in imported_modules(text):
            if module.partition(".")[0] in OWN_PACKAGES and module not in modules:
                yield f"{path} imports {module}, which is not rendered"


def undeclared_imports(
    tree: Mapping[str, bytes], main: Iterable[str], development: Iterable[str]
) -> Iterator[str]:
    """Name each package that is imported where it is not installed."""
    for path, text in _python_files(tree):
        in_production = path.startswith("app/") and not path.startswith(DEVELOPMENT_ONLY)
        declared = {*main} if in_production else {*main, *development}
        for package in sorted(external_packages(text) - declared):
            yield f"{path} imports {package}, which pyproject.toml does not declare"


def imported_packages(tree: Mapping[str, bytes]) -> set[str]:
    """Name all distributions from which a service imports."""
    return {package for _, text in _python_files(tree) for package in external_packages(text)}


def _python_files(tree: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    for path, content in tree.items():
        if path.endswith(".py"):
            yield path, content.decode()


def _own_modules(tree: Mapping[str, bytes]) -> Iterator[str]:
    for path in tree:
        if path.endswith(".py"):
            parts = PurePosixPath(path).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield from (".".join(parts[:length]) for length in range(1, len(parts)))


@cache
def _distribution(module: str) -> str:
    distributions = packages_distributions().get(module)
    if not distributions:
        raise LookupError(f"the module {module} belongs to no installed package")
    return normalised(distributions[0])
