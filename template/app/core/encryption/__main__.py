"""The master key: `python -m app.core.encryption rotate`, and `status`.

To replace it without stopping anything: add the new key to the secret file as the second line and
restart every process, so that all of them can read what is encrypted under it; make it the first
line and restart again; rotate; take the old line out when `status` counts nothing under it.

Both know encrypted columns only: what `encryption.seal` has made has to go through
`encryption.reseal` before the old line is taken out.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

from sqlalchemy.exc import DBAPIError

from app.core.database.layout import DATABASES
from app.core.discovery import import_submodules
from app.core.encryption.envelope import Keyring
from app.core.encryption.port import encryption
from app.core.encryption.rotation import count_by_version, rotate
from app.core.errors import AppException
from app.core.logging import configure_logging
from app.core.registry import CoreSettings
from app.core.settings import load_settings

_NOT_COUNTED = "not counted: what encryption.seal has made; give it to encryption.reseal yourself"


def main(given: Sequence[str] | None = None) -> None:
    """Do what the command line says.

    Raises:
        SystemExit: it cannot be done, or not all of it; one line says why.
    """
    parser = argparse.ArgumentParser(prog="python -m app.core.encryption")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("rotate", help="encrypt everything under the first key of the secret file")
    commands.add_parser("status", help="count the values by the master key that they need")
    command = parser.parse_args(given).command
    settings = load_settings(CoreSettings)
    configure_logging(settings, sys.stderr)
    import_submodules("app.models")
    try:
        asyncio.run(_run(settings, command))
    except AppException as error:
        raise SystemExit(f"encryption: {error}") from None
    except DBAPIError as error:
        reason, *_ = str(error.orig).splitlines()  # further ones may show what is stored
        raise SystemExit(f"encryption: it ended early, run it again: {reason}") from None


async def _run(settings: CoreSettings, command: str) -> None:
    # To look through a whole table takes as long as it takes.
    settings = settings.model_copy(update={"db_statement_timeout": 0})
    async with AsyncExitStack() as stack:
        stack.enter_context(encryption.using(Keyring(settings.master_keys)))
        for database in DATABASES:
            await stack.enter_async_context(database.connected(settings))
        await (_rotate() if command == "rotate" else _status())


async def _rotate() -> None:
    complete = True
    for database in DATABASES:
        outcome = await rotate(database)
        complete = complete and outcome.complete
        sys.stdout.write(
            f"{database.name}: {outcome.encrypted} rows encrypted, {outcome.changed} changed"
            f" meanwhile, {outcome.unreadable} unreadable\n"
        )
    if not complete:
        raise SystemExit("encryption: not all rows are encrypted anew: run it again")


async def _status() -> None:
    for database in DATABASES:
        counted = await count_by_version(database)
        words = ", ".join(f"{version} {number}" for version, number in counted.items())
        sys.stdout.write(f"{database.name}: {words}\n")
    sys.stdout.write(f"{_NOT_COUNTED}\n")


if __name__ == "__main__":
    main()
