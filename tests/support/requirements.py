"""The dependencies of rendered services, read from their pyproject.toml."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from packaging.requirements import Requirement

from tests.support.matrix import Matrix
from tests.support.render import Renderer
from tests.support.template import Template

PROJECT_FILE = "pyproject.toml"


def normalised(name: str) -> str:
    """Spell the name of a distribution as package indexes do (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(project: Mapping[str, Any]) -> dict[str, list[Requirement]]:
    """Give the requirements of a parsed pyproject.toml: of each group, `main` for the project's."""
    groups = {"main": project["project"].get("dependencies", ())}
    groups |= project.get("dependency-groups", {})
    return {
        group: [Requirement(entry) for entry in entries if isinstance(entry, str)]
        for group, entries in groups.items()
    }


def projects(template: Template) -> Iterator[Mapping[str, Any]]:
    """Give each distinct pyproject.toml of a rendered service, parsed."""
    matrix, renderer = Matrix(template), Renderer(template)
    switches = template.switches(renderer.sources[PROJECT_FILE])
    for projection in matrix.projections(switches):
        yield tomllib.loads(renderer.content(PROJECT_FILE, projection.answers).decode())


def requirements(template: Template) -> dict[str, list[Requirement]]:
    """Give all requirements of any rendered service by normalised name."""
    found: dict[str, list[Requirement]] = {}
    for project in projects(template):
        for group in declared(project).values():
            for requirement in group:
                known = found.setdefault(normalised(requirement.name), [])
                if requirement not in known:
                    known.append(requirement)
    return found


def dependencies(template: Template) -> set[str]:
    """Name all packages that any rendered service depends on."""
    return set(requirements(template))
