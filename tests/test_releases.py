"""Releases: what is told of a version stays told, and no version is moved or without a word."""

import re
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from packaging.version import Version

from tests.support.template import ROOT

TAG = re.compile(r"v[0-9]+\.[0-9]+\.[0-9]+")
HEADING = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+ \([0-9]{4}-[0-9]{2}-[0-9]{2}\)")
UNRELEASED = "Unreleased"
RENDERED = ("copier.yml", "extensions", "template")
"""What services get: a change of it is told."""


@dataclass(frozen=True)
class Told:
    """What a commit says of versions.

    Attributes:
        version: that of `pyproject.toml`.
        sections: of `CHANGELOG.md`, from heading to text, in their order.
    """

    version: str
    sections: Mapping[str, str]

    @classmethod
    def by(cls, project: str, changelog: str) -> "Told":
        """Read it from the texts of both files."""
        _, *parts = re.split(r"^## (.*)\n", changelog, flags=re.MULTILINE)
        texts = (text.strip() for text in parts[1::2])
        sections = dict(zip(parts[::2], texts, strict=True))
        return cls(tomllib.loads(project)["project"]["version"], sections)

    @property
    def releases(self) -> dict[str, str]:
        """Give what is told of each released version, newest first."""
        told = self.sections.items()
        return {heading.split()[0]: text for heading, text in told if heading != UNRELEASED}


def test_releases_are_told_and_stay_as_they_are() -> None:
    told = {tag: Told.by(*(_git("show", f"{tag}:{path}") for path in FILES)) for tag in _tags()}
    now = Told.by(*((ROOT / path).read_text("utf-8") for path in FILES))
    assert faults(now, told, _changed_since) == []


FILES = ("pyproject.toml", "CHANGELOG.md")


def _tags() -> list[str]:
    return _git("tag", "--list").split()


def _changed_since(tag: str) -> bool:
    return bool(_git("diff", "--name-only", tag, "--", *RENDERED))


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def faults(
    now: Told, earlier: Mapping[str, Told], changed_since: Callable[[str], bool]
) -> list[str]:
    """Name what is wrong with versions: those that are told now, and those that have a tag."""
    versions = list(now.releases)
    found = [
        *(f"{each} is no version with its date" for each in now.sections if not _is_heading(each)),
        *(f"the tag {each} is no version" for each in earlier if not TAG.fullmatch(each)),
        *(fault for tag, told in earlier.items() for fault in _moved(tag, told, now)),
    ]
    if found:
        return found
    if versions != sorted(versions, key=Version, reverse=True):
        found.append("the newest version is not told first")
    if versions[:1] != [now.version]:
        found.append(
            f"{now.version} is the version of the project, and not the newest that is told"
        )
    if f"v{now.version}" in earlier and UNRELEASED not in now.sections:
        changed = changed_since(f"v{now.version}")
        found += [f"nothing is told of what changed since v{now.version}"] if changed else []
    return found


def _is_heading(text: str) -> bool:
    return text == UNRELEASED or bool(HEADING.fullmatch(text))


def _moved(tag: str, told: Told, now: Told) -> list[str]:
    """Name what makes a tag another than the one that was released."""
    version = tag.removeprefix("v")
    if told.version != version:
        return [f"{tag} stands at the version {told.version}"]
    if told.releases.get(version) != now.releases.get(version):
        return [f"what is told of {tag} is not what was told then"]
    return []


FIRST, SECOND = "1.0.0 (2026-11-01)", "1.1.0 (2026-12-01)"
BOTH = Told("1.1.0", {SECOND: "- B", FIRST: "- A"})
TAGGED = {"v1.0.0": Told("1.0.0", {FIRST: "- A"}), "v1.1.0": BOTH}


def test_what_is_right_is_no_fault() -> None:
    assert faults(BOTH, TAGGED, lambda _: False) == []
    assert faults(Told("1.1.0", {UNRELEASED: "- C", **BOTH.sections}), TAGGED, lambda _: True) == []
    assert faults(BOTH, {"v1.0.0": TAGGED["v1.0.0"]}, lambda _: True) == []


def test_faults_are_seen() -> None:
    def seen(now: Told, earlier: Mapping[str, Told] = TAGGED) -> list[str]:
        return faults(now, earlier, lambda _: True)

    assert seen(BOTH) == ["nothing is told of what changed since v1.1.0"]
    assert seen(Told("1.1.0", {"Soon": "", **BOTH.sections})) == [
        "Soon is no version with its date"
    ]
    assert seen(BOTH, {"newest": Told("newest", {})}) == ["the tag newest is no version"]
    assert seen(BOTH, {"v1.1.0": TAGGED["v1.0.0"]}) == ["v1.1.0 stands at the version 1.0.0"]
    assert seen(Told("1.1.0", {SECOND: "- B", FIRST: "- C"})) == [
        "what is told of v1.0.0 is not what was told then"
    ]
    assert seen(Told("1.1.0", {FIRST: "- A", SECOND: "- B"}), {}) == [
        "the newest version is not told first",
        "1.1.0 is the version of the project, and not the newest that is told",
    ]
