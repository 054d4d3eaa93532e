"""Projects of Node.js: installed once for each content, outside of the repository."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

INSTALL_SECONDS = 600


class NotAvailableError(Exception):
    """Something cannot be had on this machine; the message says what is missing."""


def installed(name: str, files: Mapping[str, str]) -> Path:
    """Install a project from its files, among them `package-lock.json`, and give its directory.

    Raises:
        NotAvailableError: Node.js is missing, or the packages cannot be had.
    """
    if missing := [program for program in ("node", "npm") if not shutil.which(program)]:
        raise NotAvailableError(f"no {' and no '.join(missing)} on this machine")
    content = "\0".join(part for file in sorted(files.items()) for part in file)
    directory = _cache() / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    if directory.is_dir():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=directory.parent) as place:
        made = Path(place) / name
        for path, text in files.items():
            (made / path).parent.mkdir(parents=True, exist_ok=True)
            (made / path).write_text(text, "utf-8")
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=made,
            check=False,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
        )
        if done.returncode != 0:
            raise NotAvailableError(f"npm cannot install {name}: {done.stderr.strip()[-300:]}")
        try:
            made.rename(directory)
        except OSError:  # another process was faster
            assert directory.is_dir()
    return directory


def _cache() -> Path:
    given = os.environ.get("CI_CACHE_DIR")
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "groundwork"
    return Path(given) if given else usual
