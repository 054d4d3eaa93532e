"""Save and restore for development: `make backup` and `make restore`.

Without an address in the environment or in `.env`, the database of `make dev` is used.
"""

from app.core.backup.__main__ import main
from app.core.development.local import local_databases

if __name__ == "__main__":
    main(local_databases)
