"""Fixtures of these tests."""

import sys
from collections.abc import AsyncIterator, Iterator
from typing import cast

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from app.config import Settings
from app.core.application import create_app
from app.core.audit import audit
from tests.core.issuing.base import Issuer
from tests.core.issuing.local import LocalIssuer
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


@pytest.fixture
async def crowd(
    app: FastAPI, own_databases: Addresses, settings: Settings, mailbox: Mailbox
) -> AsyncIterator[People]:
    """Users of a service of their own, whose transactions are real."""
    service = create_app(with_changes(settings, **own_databases, db_pool_timeout=30))
    async with service.router.lifespan_context(service), caller_of(service, headers={}) as caller:
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
