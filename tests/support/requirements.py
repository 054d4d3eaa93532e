"""The dependencies of rendered services, read from their pyproject.toml."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.requirements import Requirement

from tests.support.matrix import Matrix
from tests.support.render import Renderer
from tests.support.template import SUFFIX, Template

PROJECT_FILE = "pyproject.toml"
SECTION = re.compile(r"^(dependencies|dev) = \[$")
REQUIREMENT = re.compile(r'^    "([^"]+)",$')


@dataclass(frozen=True)
class Declaration:
    """A line of pyproject.toml that asks for a package.

    Attributes:
        requirement: what is asked for.
        piece: the one with which it is asked for; None when it always is.
        in_production: whether it is asked for outside of development.
    """

    requirement: Requirement
    piece: str | None
    in_production: bool

    @property
    def package(self) -> str:
        """Its normalised name."""
        return normalised(self.requirement.name)


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


def declarations(template: Template) -> list[Declaration]:
    """Read what the project file asks for, line by line, without rendering it."""
    found = []
    section = ""
    for block in template.blocks(f"{PROJECT_FILE}{SUFFIX}"):
        for line in block.lines:
            if begins := SECTION.match(line):
                section = begins.group(1)
            elif line == "]":
                section = ""
            elif section and (asks := REQUIREMENT.match(line)):
                requirement = Requirement(asks.group(1))
                found.append(Declaration(requirement, block.piece, section == "dependencies"))
    return found


def projects(template: Template) -> Iterator[Mapping[str, Any]]:
    """Give the pyproject.toml of services in which each pair of answers occurs, parsed."""
    renderer = Renderer(template)
    for answers in Matrix(template).covering():
        yield tomllib.loads(renderer.content(PROJECT_FILE, answers).decode())


def requirements(template: Template) -> dict[str, list[Requirement]]:
    """Give all requirements of any rendered service by normalised name."""
    found: dict[str, list[Requirement]] = {}
    for each in declarations(template):
        known = found.setdefault(each.package, [])
        if each.requirement not in known:
            known.append(each.requirement)
    return found


def dependencies(template: Template) -> set[str]:
    """Name all packages that any rendered service depends on."""
    return set(requirements(template))
