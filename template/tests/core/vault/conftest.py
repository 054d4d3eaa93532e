"""Fixtures of the tests on real Vault servers."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import structlog
from fastapi import FastAPI

from app.config import Settings
from app.core import health
from app.core.application import create_app
from app.core.secrets import port
from app.core.secrets.vault import session, store
from app.core.settings import load_settings
from tests.core.issuing.base import Issuer
from tests.core.migrating import as_environment
from tests.core.plugin import Addresses
from tests.core.vault.servers import Place, Vault, development_server, new_place, real_server

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def vault() -> Iterator[Vault]:
    """A server in development mode, for all tests that leave it alone."""
    with development_server() as server:
        yield server


@pytest.fixture(scope="session")
def sealable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    """A server as in production, for tests that seal or stop it; they leave it open."""
    with real_server(tmp_path_factory.mktemp("vault")) as server:
        yield server


@pytest.fixture(autouse=True)
def _only_what_the_test_sets(monkeypatch: pytest.MonkeyPatch, issuer: Issuer) -> None:
    """No variable of the developer's is read."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in issuer.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ENVIRONMENT", "test")
    monkeypatch.setattr(health, "CACHE_SECONDS", 0.0)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Lines:
    """Gives what the application that the test makes has logged about secrets."""
    for module in (port, session, store):
        # A logger keeps the configuration that it has met first.
        monkeypatch.setattr(module, "log", structlog.get_logger(logger_name="app.secrets"))
    seen: list[dict[str, Any]] = []

    def read() -> list[dict[str, Any]]:
        seen.extend(json.loads(line) for line in capsys.readouterr().out.splitlines())
        return [line for line in seen if line.get("logger") == "app.secrets"]

    return read


@pytest.fixture
def place(vault: Vault, addresses: Addresses, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place of the test's own, to which the environment leads; it holds the addresses."""
    place = new_place(vault)
    place.write(**as_environment(addresses))
    enter(place, monkeypatch)
    return place


def enter(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the environment lead to a place."""
    for name, value in place.environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
async def running(place: Place) -> AsyncIterator[FastAPI]:
    """A service that gets what it needs from that place, started."""
    app = create_app(load_settings(Settings))
    async with app.router.lifespan_context(app):
        yield app
