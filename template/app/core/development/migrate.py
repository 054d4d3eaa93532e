"""Migrations for development: `make migrate` applies them, with `m="message"` it makes one first.

Without an address in the environment or in `.env`, the database of `make dev` is used.
"""

import argparse
import sys
from collections.abc import Iterable

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations.ops import MigrationScript

from app.core.development.local import local_databases
from app.core.development.sign_in import name_issuer
from app.core.migrate import configurations, upgrade


def main() -> None:
    """Make a revision from the models if a message is given, then apply what is missing."""
    parser = argparse.ArgumentParser(prog="make migrate")
    parser.add_argument("--message", help="make a revision with this message first")
    message = parser.parse_args().message
    name_issuer()
    with local_databases():
        upgrade()
        if message:
            for config in configurations():
                _make_revision(config, message)
            upgrade()


def _make_revision(config: Config, message: str) -> None:
    command.revision(
        config, message, autogenerate=True, process_revision_directives=_unless_nothing_changed
    )


def _unless_nothing_changed(
    _context: MigrationContext,
    _revision: str | Iterable[str | None],
    scripts: list[MigrationScript],
) -> None:
    operations = scripts[0].upgrade_ops
    if operations is not None and operations.is_empty():
        scripts.clear()
        sys.stdout.write("The models say nothing new: no migration is needed\n")


if __name__ == "__main__":
    main()
