"""Another command while developing: `python -m app.core.development.command MODULE ...`.

Without an address in the environment or in `.env`, the database of `make dev` is used.
"""

import sys
from runpy import run_module

from app.core.development.local import local_databases
from app.core.migrate import upgrade


def main() -> None:
    """Find the databases, migrate, and run the module with the rest of the command line."""
    module = sys.argv.pop(1)
    with local_databases():
        upgrade()
        run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
