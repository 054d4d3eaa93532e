"""Migrations for development: `make migrate` applies them, with `m="message"` it makes one first.

Without a DATABASE_URL the database of `make dev` is used.
"""

import argparse
import os

from alembic import command
from alembic.config import Config

from app.core.development.local import Address, database_url
from app.core.settings import load_settings


def main() -> None:
    """Make a revision from the models if a message is given, then apply what is missing."""
    parser = argparse.ArgumentParser(prog="make migrate")
    parser.add_argument("--message", help="make a revision with this message first")
    message = parser.parse_args().message
    config = Config("alembic.ini")
    with database_url(load_settings(Address).database_url) as url:
        os.environ["DATABASE_URL"] = url
        command.upgrade(config, "head")
        if message:
            command.revision(config, message, autogenerate=True)
            command.upgrade(config, "head")


if __name__ == "__main__":
    main()
