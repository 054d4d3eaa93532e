"""Save or restore every database: `python -m app.core.backup save|restore DIRECTORY`.

Uses the addresses of the migrations, since their account sees all rows. With `--compose` the
programs run in the containers of `docker compose`, and this machine needs none of them.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

from app.core.backup import compose
from app.core.backup.flavour import SUFFIX, check, clear, dump, holds_tables, load
from app.core.backup.target import BackupError, Target
from app.core.database.handle import Database
from app.core.database.layout import DATABASES
from app.core.migrate import upgrade
from app.core.registry import MigrationSettings
from app.core.settings import load_settings

DEFAULT = Path("backups")

Around = Callable[[], AbstractContextManager[None]]


def save(targets: dict[Database, Target], directory: Path) -> None:
    """Write one file for each database.

    Raises:
        BackupError: a program is missing or fails, or the directory has files in it.
    """
    if directory.exists() and any(directory.iterdir()):
        raise BackupError(f"{directory} is not empty: name another directory")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for database, target in targets.items():
        file = directory / f"{database.name}{SUFFIX}"
        # Under its name only when it is whole.
        unfinished = file.with_suffix(".unfinished")
        dump(target, unfinished)
        unfinished.rename(file)
        sys.stdout.write(f"{database.name}: {file} ({file.stat().st_size} bytes)\n")


def restore(targets: dict[Database, Target], directory: Path, *, replace: bool) -> None:
    """Read one file for each database into an empty one.

    Args:
        targets: where the databases are.
        directory: what `save` has written.
        replace: drop first what is there.

    Raises:
        BackupError: a program or a file is missing, a file is damaged, a program fails, or a
            database is not empty.
    """
    files = {database: directory / f"{database.name}{SUFFIX}" for database in targets}
    for file in files.values():
        if not file.is_file():
            raise BackupError(f"{file} is missing")
    # All of them before the first is touched.
    if not replace and (full := [f"{at.url!r}" for at in targets.values() if holds_tables(at)]):
        raise BackupError(f"{', '.join(full)} has tables: replace=1 drops what is there")
    for database, target in targets.items():
        check(target, files[database])
    for database, target in targets.items():
        if replace:
            clear(target)
        load(target, files[database])
        sys.stdout.write(f"{database.name}: restored from {files[database]}\n")


@contextmanager
def here(around: Around) -> Iterator[dict[Database, Target]]:
    """Give the databases that the settings name once `around` is entered."""
    with around():
        settings = load_settings(MigrationSettings)
        found = {}
        for database in DATABASES:
            addresses = database.addresses(settings)
            address = addresses.migration or addresses.main
            found[database] = Target.at(address)
        yield found


def run(arguments: argparse.Namespace, around: Around = nullcontext) -> None:
    """Do what the command line asks for.

    Args:
        arguments: the command line.
        around: see `main`.

    Raises:
        BackupError: it cannot be done.
    """
    with compose.databases() if arguments.compose else here(around) as targets:
        if arguments.action == "save":
            save(targets, arguments.directory or DEFAULT / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
            return
        if arguments.directory is None:
            raise BackupError("which one? For example from=backups/20260102T030405Z")
        restore(targets, arguments.directory, replace=arguments.replace)
        # What the saved state is behind with, and the rights of the service's role.
        if arguments.compose:
            compose.upgrade()
        else:
            upgrade()


def main(around: Around = nullcontext) -> None:
    """Read the command line and do it.

    Args:
        around: is entered before the settings are read: it may start the databases that they name.

    Raises:
        SystemExit: it cannot be done; one line says why.
    """
    parser = argparse.ArgumentParser(prog="python -m app.core.backup")
    parser.add_argument("action", choices=["save", "restore"])
    parser.add_argument("directory", type=Path, nargs="?", help="one file for each database")
    parser.add_argument("--compose", action="store_true", help="the databases of docker compose")
    parser.add_argument("--replace", action="store_true", help="drop what is there")
    try:
        run(parser.parse_args(), around)
    except BackupError as error:
        raise SystemExit(f"backup: {error}") from None


if __name__ == "__main__":
    main()
