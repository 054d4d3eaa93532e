"""A database, and how the programs of its server reach it."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import SecretStr
from sqlalchemy import URL

from app.core.database.settings import plain_url
from app.core.settings import variable


class BackupError(Exception):
    """Something could not be saved or restored; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Target:
    """A database, and how the programs of its server reach it.

    Attributes:
        url: its address, as the programs see it.
        container: the command that runs what follows in a container; empty on this machine.
    """

    url: URL
    container: tuple[str, ...] = ()

    @classmethod
    def at(
        cls,
        address: SecretStr,
        container: Sequence[str] = (),
        find: Callable[[str], str | None] = variable,
    ) -> "Target":
        """Read an address; `find` gives the variables that it names.

        Raises:
            BackupError: it is no address, or names a variable that is not set.
        """
        try:
            return cls(plain_url(address, find), tuple(container))
        except ValueError as error:
            raise BackupError(f"the address of a database {error}") from None

    def run(
        self,
        command: Sequence[str],
        *,
        reads: Path | None = None,
        writes: Path | None = None,
        **variables: str,
    ) -> str:
        """Run a program and give what it prints, unless that goes into a file.

        Args:
            command: the program and its arguments.
            reads: a file for its standard input.
            writes: a file for its standard output.
            variables: environment, on this machine only; where passwords belong.

        Raises:
            BackupError: the program is missing, or fails.
        """
        program = command[0]
        if not self.container and shutil.which(program) is None:
            raise BackupError(f"{Path(program).name} is not installed (or use compose=1)")
        with ExitStack() as files:
            done = subprocess.run(  # noqa: S603
                [*self.container, *command],
                stdin=files.enter_context(reads.open("rb")) if reads else subprocess.DEVNULL,
                stdout=files.enter_context(_private(writes)) if writes else subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **variables},
                check=False,
            )
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise BackupError(f"{Path(program).name} failed: {said}")
        return (done.stdout or b"").decode()


def _private(file: Path) -> BinaryIO:
    """Open a new file that only its owner can read."""
    new = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    return os.fdopen(os.open(file, new, 0o600), "wb")
