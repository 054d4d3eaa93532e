"""Bring every database of the service up to date: `python -m app.core.migrate`."""

from alembic import command
from alembic.config import Config

from app.core.database.layout import DATABASES


def configurations() -> list[Config]:
    """Alembic's configuration for each database."""
    return [Config("alembic.ini", ini_section=database.section) for database in DATABASES]


def upgrade() -> None:
    """Apply what is missing, one database after the other.

    Raises:
        TimeoutError: another migrator held a lock for too long.
    """
    for config in configurations():
        command.upgrade(config, "head")


if __name__ == "__main__":
    upgrade()
