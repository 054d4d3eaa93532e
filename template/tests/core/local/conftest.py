"""Fixtures of these tests."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import ip_network
from typing import Any, cast

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from pwdlib.hashers.argon2 import Argon2Hasher

from app.config import Settings
from app.core.application import create_app
from app.core.audit import audit
from app.core.database.layout import DATABASES
from app.core.secrets import secrets
from tests.core.issuing.base import Issuer
from tests.core.issuing.local import LocalIssuer
from tests.core.local.browsing import ADA, PROVIDERS, Browser
from tests.core.local.elsewhere import Elsewhere
from tests.core.local.people import People
from tests.core.mailbox import Mailbox
from tests.core.migrating import migrate
from tests.core.plugin import Addresses, NewDatabases, caller_of, with_changes


@pytest.fixture
def mailbox(issuer: Issuer) -> Mailbox:
    """What the service has sent."""
    return cast("LocalIssuer", issuer).mailbox


@pytest.fixture
def people(stranger: AsyncClient, mailbox: Mailbox) -> People:
    """Users of the service; what they do is rolled back."""
    return People(stranger, mailbox)


@pytest.fixture(scope="package")
def own_databases(new_databases: NewDatabases) -> Iterator[Addresses]:
    """Databases in which transactions are real, for what happens at the same time."""
    with new_databases() as made:
        migrate(made)
        yield made


GRACE_SECONDS = 120
PATIENT = {"db_pool_timeout": 30, "auth_refresh_grace_seconds": GRACE_SECONDS}
"""Settings for many callers at once, some of whom wait long for their turn."""

_ADDRESSES = ip_network("198.51.100.0/24").hosts()  # for documentation: RFC 5737


@pytest.fixture
def own_address() -> str:
    """The address of nobody else: what is counted for one stays where transactions are real."""
    return str(next(_ADDRESSES))


@pytest.fixture
async def crowd(
    app: FastAPI, own_databases: Addresses, settings: Settings, mailbox: Mailbox, own_address: str
) -> AsyncIterator[People]:
    """Users of a service of their own, whose transactions are real."""
    service = create_app(with_changes(settings, **own_databases, **PATIENT))
    async with (
        service.router.lifespan_context(service),
        caller_of(service, own_address, headers={}) as caller,
    ):
        yield People(caller, mailbox)


@pytest.fixture
def late_replicas(new_databases: NewDatabases) -> Iterator[Addresses]:
    """Databases that play replicas to which nothing has come yet."""
    with new_databases() as made:
        migrate(made)
        yield {each.replica_variable: made[each.variable] for each in DATABASES}


@pytest.fixture
async def late(
    app: FastAPI,
    own_databases: Addresses,
    late_replicas: Addresses,
    settings: Settings,
    mailbox: Mailbox,
    own_address: str,
) -> AsyncIterator[People]:
    """Users of a service with such replicas."""
    service = create_app(with_changes(settings, **own_databases, **late_replicas))
    async with (
        service.router.lifespan_context(service),
        caller_of(service, own_address, headers={}) as caller,
    ):
        yield People(caller, mailbox)


@pytest.fixture
def audited(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What was written into the audit log."""
    events: list[dict[str, object]] = []

    def keep(event: str, **fields: object) -> None:
        events.append({"event": event, **fields})
        audit(event, **fields)

    for name, module in list(sys.modules.items()):
        if name.startswith("app.core.auth.local.") and hasattr(module, "audit"):
            monkeypatch.setattr(module, "audit", keep)
    return events


def watched(name: str, do: Callable[..., Any], done: list[str]) -> Callable[..., Any]:
    def call(*given: Any, **more: Any) -> Any:
        done.append(name)
        return do(*given, **more)

    return call


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What argon2 was asked to do, in order."""
    done: list[str] = []
    for name in ("hash", "verify"):
        monkeypatch.setattr(Argon2Hasher, name, watched(name, getattr(Argon2Hasher, name), done))
    return done


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere().running() as elsewhere:
        yield elsewhere


@pytest.fixture
async def browser(
    settings: Settings, people: People, elsewhere: Elsewhere
) -> AsyncIterator[Browser]:
    """The browser of somebody who has an account with a password."""
    await people.join(ADA)
    own = with_changes(settings, **elsewhere.settings)
    with secrets.given_by(own):
        async with caller_of(create_app(own), headers={}) as client:
            yield Browser(client)
    await people.forget_mails(ADA)


@pytest.fixture
async def victim(browser: Browser) -> AsyncIterator[Browser]:
    """Another browser of the same service."""
    transport = browser.client._transport
    async with AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield Browser(client)
