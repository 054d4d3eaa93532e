"""Which database to work with while developing."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.core.development.flavour import create_database, local_server
from app.core.settings import AppSettings

LOCAL_DATA = Path(".local")
DATABASE = "development"


class Address(AppSettings):
    """What can be read before there is a database."""

    database_url: str | None = None


@contextmanager
def database_url(given: str | None) -> Iterator[str]:
    """Use the given address, or run a database server of this directory's own.

    Yields:
        The address of the database; the server's data stays in `.local/`.
    """
    if given:
        yield given
        return
    with local_server(LOCAL_DATA) as server:
        yield asyncio.run(create_database(server, DATABASE))
