"""The master key while developing: `make rotate-master-key`.

Without an address in the environment or in `.env`, the database of `make dev` is used.
"""

from app.core.development.local import local_databases
from app.core.encryption.__main__ import main as encryption
from app.core.migrate import upgrade


def main() -> None:
    """Find the databases, migrate, and do what the command line says."""
    with local_databases():
        upgrade()
        encryption()


if __name__ == "__main__":
    main()
