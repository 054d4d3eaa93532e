"""What a Python text imports."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distributions, files, packages_distributions

from tests.support.requirements import normalised
from tests.support.runs import own_packages

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
    own = {*OWN_PACKAGES, *sys.stdlib_module_names}
    modules = (name for name in imported_modules(text) if name.partition(".")[0] not in own)
    return {_distribution(name) for name in modules}


@cache
def _distribution(name: str) -> str:
    module = name.partition(".")[0]
    found = set(_installed().get(module, ()))
    if len(found) > 1:
        return normalised(_sharer(name, found))
    if found:
        return normalised(found.pop())
    beside = [each.name for each in distributions(path=[own_packages()])]
    if module not in beside:
        raise LookupError(f"the module {module} belongs to no installed package")
    return normalised(module)


_installed = cache(packages_distributions)


def _sharer(name: str, sharers: set[str]) -> str:
    """Of the distributions that share a namespace, name the one that has a module."""
    places = {f"{name.replace('.', '/')}{end}" for end in (".py", "/__init__.py")}
    for sharer in sorted(sharers):
        if places & {str(file) for file in files(sharer) or ()}:
            return sharer
    raise LookupError(f"none of {', '.join(sorted(sharers))} has the module {name}")
