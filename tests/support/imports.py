"""What a Python text imports."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distributions, packages_distributions

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
    roots = {module.partition(".")[0] for module in imported_modules(text)}
    external = roots - set(OWN_PACKAGES) - sys.stdlib_module_names
    return {_distribution(root) for root in external}


@cache
def _distribution(module: str) -> str:
    if found := packages_distributions().get(module):
        return normalised(found[0])
    beside = [each.name for each in distributions(path=[own_packages()])]
    if module not in beside:
        raise LookupError(f"the module {module} belongs to no installed package")
    return normalised(module)
