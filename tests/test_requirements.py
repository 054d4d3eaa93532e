"""The pinned union in requirements.txt is what rendered services ask for."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.support.requirements import dependencies, normalised, projects, requirements
from tests.support.template import ROOT, Template

PINS = (ROOT / "requirements.txt").read_text("utf-8")
BESIDE = (ROOT / "requirements-arq.txt").read_text("utf-8")
"""What is installed beside, for services with arq."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
GROUPS = PROJECT["dependency-groups"]


def pinned(text: str = PINS) -> dict[str, list[Version]]:
    """Give the pinned versions of each package; there may be one per version of Python."""
    versions: dict[str, list[Version]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([\w.!+]+)", text, re.MULTILINE):
        versions.setdefault(normalised(name), []).append(Version(version))
    return versions


def test_services_group_is_the_union() -> None:
    union = {str(entry) for entries in requirements(Template()).values() for entry in entries}
    named = (*GROUPS["services"], *GROUPS["arq"])
    assert union == {str(Requirement(entry)) for entry in named}


@pytest.mark.parametrize(("text", "groups"), [(PINS, ("dev", "services")), (BESIDE, ("arq",))])
def test_pins_satisfy_every_group(text: str, groups: tuple[str, ...]) -> None:
    versions = pinned(text)
    for entry in (Requirement(entry) for group in groups for entry in GROUPS[group]):
        found = versions.get(normalised(entry.name), [])
        assert found, f"{entry} is not pinned: make lock"
        assert all(entry.specifier.contains(version) for version in found), f"{entry}: make lock"


def test_style_is_that_of_services() -> None:
    own = PROJECT["tool"]["ruff"]
    for project in projects(Template()):
        rendered = project["tool"]["ruff"]
        assert own["line-length"] == rendered["line-length"]
        assert own["lint"]["select"] == rendered["lint"]["select"]
        assert own["lint"]["ignore"] == rendered["lint"]["ignore"]


def test_nothing_names_an_index() -> None:
    for text in (PINS, BESIDE):
        assert "://" not in text
        assert "--" not in text
    assert dependencies(Template()) <= pinned().keys() | pinned(BESIDE).keys()
