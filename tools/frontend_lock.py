"""Pin what the frontends of all services depend on, as tests install it (`make lock`)."""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.frontends import LOCK, LOCKED, union
from tests.support.template import Template


def main() -> None:
    """Write the lock file anew, without the address of any registry."""
    with TemporaryDirectory() as place:
        directory = Path(place)
        for path, text in union(Template()).items():
            (directory / path).parent.mkdir(exist_ok=True)
            (directory / path).write_text(text, "utf-8")
        subprocess.run(
            ["npm", "install", "--package-lock-only", "--omit-lockfile-registry-resolved"],
            cwd=directory,
            check=True,
        )
        LOCK.write_text((directory / LOCKED).read_text("utf-8"), "utf-8")


if __name__ == "__main__":
    main()
