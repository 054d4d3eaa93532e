"""Fixtures that every test of the service may use.

Tests run on real databases of the service's kind, built by the migrations; each test runs inside a
transaction that is rolled back. TEST_DATABASE_URL names a server whose account may create
databases; without it one is started, its data in `.local/`.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient

from app.config import Settings
from app.core.database.layout import DATABASES
from app.core.development.flavour import create_database, drop_database, local_server
from tests.core.issuing.base import Issuer, bearer
from tests.core.issuing.provider import issuing
from tests.core.migrating import as_environment, migrate
from tests.core.without_servers import WITHOUT_SERVERS

Addresses = dict[str, str]
"""The address of each database, by the name of its setting."""

SIGNED_IN: dict[str, str] = {}
"""The headers of a caller with a valid token."""

NewDatabases = Callable[[], AbstractContextManager[Addresses]]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def worker() -> str:
    return os.environ.get("PYTEST_XDIST_WORKER", "main")


@pytest.fixture(scope="session")
def database_server(worker: str) -> Iterator[str]:
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    with local_server(Path(".local") / "tests" / worker) as server:
        yield server


@pytest.fixture(scope="session")
def new_databases(database_server: str, worker: str) -> NewDatabases:
    """Makes all databases of a service, empty; they are removed afterwards."""

    @contextmanager
    def make() -> Iterator[Addresses]:
        names = {database.variable: f"test_{worker}_{uuid4().hex[:12]}" for database in DATABASES}
        yield {
            variable: asyncio.run(create_database(database_server, name))
            for variable, name in names.items()
        }
        for name in names.values():
            asyncio.run(drop_database(database_server, name))

    return make


@pytest.fixture(scope="session")
def addresses(new_databases: NewDatabases) -> Iterator[Addresses]:
    """The databases of all tests that are rolled back."""
    with new_databases() as made:
        migrate(made)
        yield made


@pytest.fixture
def empty_databases(new_databases: NewDatabases) -> Iterator[Addresses]:
    """Databases of the test's own, before any migration."""
    with new_databases() as made:
        yield made


@pytest.fixture(scope="session", autouse=True)
def issuer() -> Iterator[Issuer]:
    """Issues the tokens of all callers."""
    with issuing() as issuer:
        os.environ.update({**issuer.variables, **WITHOUT_SERVERS}, ENVIRONMENT="test")
        SIGNED_IN.update(bearer(issuer.token()))
        yield issuer


@pytest.fixture(scope="session")
def settings(addresses: Addresses) -> Settings:
    os.environ.update(as_environment(addresses))
    return Settings()


@pytest.fixture(scope="session")
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """The service's own application, started."""
    from app import main  # noqa: PLC0415 - reads the environment when it is imported

    async with main.app.router.lifespan_context(main.app):
        yield main.app


@pytest.fixture
async def rolled_back(app: FastAPI) -> AsyncIterator[None]:
    """Whatever the test stores is gone afterwards."""
    async with AsyncExitStack() as stack:
        for database in DATABASES:
            connection = await stack.enter_async_context(database.engine.connect())
            await connection.begin()
            stack.push_async_callback(connection.rollback)
            stack.enter_context(database.bound_to(connection))
        yield


@pytest.fixture
async def client(app: FastAPI, rolled_back: None) -> AsyncIterator[AsyncClient]:
    """A caller of the service who is signed in."""
    async with caller_of(app) as caller:
        yield caller


@pytest.fixture
async def stranger(app: FastAPI, rolled_back: None) -> AsyncIterator[AsyncClient]:
    """A caller of the service whom nobody knows."""
    async with caller_of(app, headers={}) as caller:
        yield caller


def caller_of(
    app: FastAPI, address: str = "127.0.0.1", headers: dict[str, str] | None = None
) -> AsyncClient:
    """Make a caller of an application, from some address, signed in unless it says otherwise."""
    return AsyncClient(
        transport=ASGITransport(app, raise_app_exceptions=False, client=(address, 50_000)),
        base_url="http://localhost",
        headers=SIGNED_IN if headers is None else headers,
    )


def with_changes(settings: Settings, **changes: object) -> Settings:
    """The same settings with some of them changed, validated again."""
    return type(settings).model_validate(settings.model_dump() | changes)
