"""What is known of Vault is measured."""

import pytest

from tests.core.metrics.scraping import scrape
from tests.core.plugin import caller_of
from tests.core.vault.conftest import enter
from tests.core.vault.servers import Vault, new_place
from tests.core.vault.test_running import service, until


async def test_the_lease_and_failed_looks_are_measured(
    sealable: Vault, monkeypatch: pytest.MonkeyPatch, addresses: dict[str, str]
) -> None:
    place = new_place(sealable)
    place.write(**{name.upper(): value for name, value in addresses.items()})
    enter(place, monkeypatch)
    async with service(place, monkeypatch) as app, caller_of(app, headers={}) as caller:
        figures = await scrape(caller)
        assert 0 < figures.one("vault_token_seconds_left") < float("inf")
        assert figures.one("vault_refresh_failures_total") == 0
        sealable.seal()
        try:

            async def has_failed() -> bool:
                return (await scrape(caller)).one("vault_refresh_failures_total") >= 1

            await until(has_failed)
        finally:
            sealable.unseal()
