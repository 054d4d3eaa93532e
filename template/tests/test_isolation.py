"""The sample is really attacked: see `tests/core/tenants.py` for how."""

import pytest

from tests.core.tenants import Tenancy


async def test_something_of_each_kind_was_stored(tenancy: Tenancy) -> None:
    assert tenancy.found.keys() >= {"project_id", "document_id"}


@pytest.mark.usefixtures("without_repository_rule", "without_session_net", "without_last_net")
async def test_without_any_net_the_attack_is_noticed(tenancy: Tenancy) -> None:
    got = await tenancy.attack()
    assert len(got) > len(tenancy.found)
