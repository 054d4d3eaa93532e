"""Administration of tenants while developing: `make tenants ARGS="create acme 'Acme Ltd'"`.

Without an address in the environment or in `.env`, the database of `make dev` is used.
"""

from app.core.development.local import local_databases
from app.core.migrate import upgrade
from app.core.tenancy.__main__ import main as administrate


def main() -> None:
    """Find the databases, migrate, and do what the command line says."""
    with local_databases():
        upgrade()
        administrate()


if __name__ == "__main__":
    main()
