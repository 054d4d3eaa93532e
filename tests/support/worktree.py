"""Copies of the repository as it stands, uncommitted changes included."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.template import LITTER, ROOT

IDENTITY = {
    "GIT_AUTHOR_NAME": "Tests",
    "GIT_AUTHOR_EMAIL": "tests@example.com",
    "GIT_COMMITTER_NAME": "Tests",
    "GIT_COMMITTER_EMAIL": "tests@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}
"""For git commands that commit: the same on every machine, hooks and signing switched off."""


def copy_template(target: Path, root: Path = ROOT) -> Path:
    """Copy what Copier reads to a plain directory without version control."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy2(root / "copier.yml", target)
    for name in ("extensions", "template"):
        shutil.copytree(root / name, target / name, ignore=_litter)
    return target


def clone(target: Path) -> Path:
    """Clone the repository with its uncommitted changes as one more commit.

    Raises:
        subprocess.CalledProcessError: this is no git repository.
    """
    subprocess.run(["git", "init", "--quiet", str(target)], check=True)
    overlay(target)
    environment = {**os.environ, **IDENTITY}
    for command in (["add", "--all"], ["commit", "--quiet", "--message", "The work tree"]):
        subprocess.run(["git", *command], cwd=target, env=environment, check=True)
    return target


def overlay(target: Path) -> None:
    """Make a clone's files those of the repository as it stands.

    Raises:
        subprocess.CalledProcessError: this is no git repository.
    """
    for kept in target.iterdir():
        if kept.name != ".git":
            shutil.rmtree(kept) if kept.is_dir() else kept.unlink()
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listing.stdout.split("\0")):
        if (source := ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def _litter(directory: str, names: list[str]) -> set[str]:
    return {name for name in names if LITTER.search(name)}
