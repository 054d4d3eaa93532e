"""Fixtures of tenants."""

from collections.abc import Iterator

import pytest

from app.core.tenancy.directory import directory


@pytest.fixture(autouse=True)
def _nobody_admitted() -> Iterator[None]:
    """What one test stored is gone in the next, so that tenants must be asked for again."""
    directory.forget_all()
    yield
    directory.forget_all()
