"""Running Alembic as the command line does."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from app.config import Settings
from app.core.database.engine import build_engine
from app.core.database.handle import Database
from app.core.database.settings import driver_url
from app.core.migrate import configurations

AnswerT = TypeVar("AnswerT")


def migrate(addresses: Mapping[str, str]) -> None:
    """Bring every database up to date."""
    alembic(addresses, lambda config: command.upgrade(config, "head"))


def alembic(addresses: Mapping[str, str], action: Callable[[Config], None]) -> None:
    """Do something with Alembic on every database."""
    with environment(**as_environment(addresses)):
        for config in configurations():
            action(config)


def as_environment(addresses: Mapping[str, str]) -> dict[str, str]:
    """Name addresses as the environment does."""
    return {name.upper(): address for name, address in addresses.items()}


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set variables of the environment for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def look(
    settings: Settings, database: Database, question: Callable[[Connection], AnswerT]
) -> AnswerT:
    """Ask something of a database over a connection of its own, as the migrations would."""
    addresses = database.addresses(settings)

    async def ask() -> AnswerT:
        engine = build_engine(driver_url(addresses.migration or addresses.main), settings)
        async with engine.connect() as connection:
            answer = await connection.run_sync(question)
        await engine.dispose()
        return answer

    return asyncio.run(ask())
