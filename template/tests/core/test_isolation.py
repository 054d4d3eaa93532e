"""No tenant sees or changes what another one owns, on any route of the application.

The routes are found from the application, and their bodies from its OpenAPI document: one tenant
stores something by every POST, another one then tries everything with the first one's ids. Each net
is taken away in turn, and the others hold.
"""

import pytest

from tests.core.tenants import Tenancy


async def test_the_owner_has_something_to_lose(tenancy: Tenancy) -> None:
    assert sum(map(len, (await tenancy.rows()).values())) > len(tenancy.found)


async def test_a_tenant_reaches_nothing_of_another_one(tenancy: Tenancy) -> None:
    assert await tenancy.attack() == []


@pytest.mark.usefixtures("without_repository_rule")
async def test_without_the_repositories_rule_the_others_hold(tenancy: Tenancy) -> None:
    assert await tenancy.attack() == []


@pytest.mark.usefixtures("without_session_net")
async def test_without_the_session_net_the_others_hold(tenancy: Tenancy) -> None:
    assert await tenancy.attack() == []


@pytest.mark.usefixtures("without_last_net")
async def test_without_the_last_net_the_others_hold(tenancy: Tenancy) -> None:
    assert await tenancy.attack() == []
