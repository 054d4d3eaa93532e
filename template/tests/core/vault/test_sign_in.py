"""Sign-in through others, with credentials that a running service takes from Vault."""

from collections.abc import Iterator
from typing import cast

import pytest

from app.config import Settings
from app.core.application import create_app
from app.core.secrets import secrets
from app.core.settings import load_settings
from tests.core.issuing.base import Issuer
from tests.core.issuing.local import LocalIssuer
from tests.core.local.browsing import ADA, PROVIDERS, Browser
from tests.core.local.elsewhere import Elsewhere
from tests.core.local.people import People
from tests.core.migrating import as_environment, migrate
from tests.core.plugin import Addresses, caller_of
from tests.core.vault.conftest import enter
from tests.core.vault.servers import Place, Vault, new_place


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere().running() as elsewhere:
        yield elsewhere


@pytest.fixture
def own_place(
    vault: Vault,
    empty_databases: Addresses,
    elsewhere: Elsewhere,
    monkeypatch: pytest.MonkeyPatch,
) -> Place:
    """A place with databases of the test's own, and the clients of both providers."""
    migrate(empty_databases)
    place = new_place(vault)
    place.write(**as_environment(empty_databases | elsewhere.settings))
    enter(place, monkeypatch)
    return place


async def test_a_rotated_client_is_taken_up_while_running(
    own_place: Place, elsewhere: Elsewhere, issuer: Issuer
) -> None:
    app = create_app(load_settings(Settings))
    async with app.router.lifespan_context(app), caller_of(app, headers={}) as caller:
        people = People(caller, cast("LocalIssuer", issuer).mailbox)
        await people.join(ADA)
        browser = Browser(caller)
        await sign_in_everywhere(browser)
        elsewhere.client["client_secret"] = "its new secret"  # noqa: S105
        assert (await browser.sign_in("github")).status_code == 401
        for changed in ("secret", "id"):
            elsewhere.client[f"client_{changed}"] = f"its new {changed}"
            own_place.change(**as_environment(elsewhere.settings))
            await secrets.refresh()
            await sign_in_everywhere(browser)
        await people.forget_mails(ADA)


async def sign_in_everywhere(browser: Browser) -> None:
    for provider in PROVIDERS:
        answer = await browser.sign_in(provider)
        assert answer.status_code == 200, answer.text
