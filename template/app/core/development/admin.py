"""Administration of users while developing: `make admin ARGS="create --help"`.

Without an address in the environment or in `.env`, the database of `make dev` is used.
"""

from app.core.auth.local.admin import main as administrate
from app.core.development.local import local_databases
from app.core.migrate import upgrade


def main() -> None:
    """Find the databases, migrate, and do what the command line says."""
    with local_databases():
        upgrade()
        administrate()


if __name__ == "__main__":
    main()
