"""Bring every database of the service up to date: `python -m app.core.migrate`."""

from alembic import command
from alembic.config import Config

from app.core.database.layout import DATABASES
from app.core.database.migrations import LEAVE_WHEN_AHEAD
from app.core.errors import ServiceUnavailableError


def configurations() -> list[Config]:
    """Alembic's configuration for each database."""
    return [Config("alembic.ini", ini_section=database.section) for database in DATABASES]


def upgrade() -> None:
    """Apply what is missing, one database after the other.

    What newer code has migrated is left alone: an older image that comes back serves on it.

    Raises:
        TimeoutError: another migrator held a lock for too long.
    """
    for config in configurations():
        config.attributes[LEAVE_WHEN_AHEAD] = True
        command.upgrade(config, "head")


def main() -> None:
    """Apply what is missing.

    Raises:
        SystemExit: it cannot be done now; one line says why.
    """
    try:
        upgrade()
    except (ServiceUnavailableError, TimeoutError) as error:
        cause = f" ({type(error.__cause__).__name__})" if error.__cause__ else ""
        raise SystemExit(f"migrations: {error}{cause}") from None


if __name__ == "__main__":
    main()
