"""Which databases to work with while developing."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import create_model

from app.core.database.layout import DATABASES
from app.core.database.roles.role import development_addresses
from app.core.database.settings import DatabaseUrl
from app.core.development.flavour import create_database, local_server
from app.core.registry import MigrationSettings
from app.core.settings import load_settings

LOCAL_DATA = Path(".local")
VARIABLES = [database.variable for database in DATABASES]
Given = create_model(  # type: ignore[call-overload]
    "Given", __base__=MigrationSettings, **dict.fromkeys(VARIABLES, (DatabaseUrl | None, None))
)


@contextmanager
def local_databases() -> Iterator[None]:
    """Give every database an address: the one that is set, or that of a server of our own.

    Inside of the block the environment is complete. The server's data stays in `.local/`.
    """
    given = load_settings(Given)
    missing = [name for name in VARIABLES if getattr(given, name) is None]
    if not missing:
        yield
        return
    with local_server(LOCAL_DATA) as server:
        for name in missing:
            own = name.replace("database_url", "development")
            address = asyncio.run(create_database(server, own))
            for variable, value in development_addresses(name, address).items():
                os.environ[variable.upper()] = value
        yield
