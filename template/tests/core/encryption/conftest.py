"""Databases that the tests of one module share, because making them takes long."""

from collections.abc import Iterator

import pytest

from tests.core.plugin import Addresses, NewDatabases


@pytest.fixture(scope="module")
def module_databases(new_databases: NewDatabases) -> Iterator[Addresses]:
    """Databases of a module's own, before any migration."""
    with new_databases() as made:
        yield made
