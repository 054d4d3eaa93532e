"""Running Alembic as the command line does."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from alembic import command
from alembic.config import Config


def migrate(url: str, revision: str = "head") -> None:
    """Bring a database up to a revision."""
    alembic(url, lambda config: command.upgrade(config, revision))


def alembic(url: str, action: Callable[[Config], None]) -> None:
    """Do something with Alembic on a database."""
    with environment(DATABASE_URL=url):
        action(Config("alembic.ini"))


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set variables of the environment for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
