"""Write the OpenAPI document for client generators: `make openapi`."""

import json
import os
import sys
from pathlib import Path

from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.layout import DATABASES
from app.core.development.sign_in import name_issuer

TARGET = Path("openapi.json")


def main() -> None:
    """Write `openapi.json`; needs no database, only the application's routes."""
    name_issuer()
    for database in DATABASES:
        os.environ.setdefault(database.variable.upper(), FLAVOUR.example)
    from app.main import app  # noqa: PLC0415 - reads the environment when it is imported

    TARGET.write_text(json.dumps(app.openapi(), indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"{TARGET}\n")


if __name__ == "__main__":
    main()
