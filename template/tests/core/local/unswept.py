"""While tests run, nothing is swept unasked."""

from collections.abc import Iterator

import pytest

from app.core.auth.local import sweep


@pytest.fixture(scope="session", autouse=True)
def unswept() -> Iterator[None]:
    """A test may hold the only connection, and roll back what it was used for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "INTERVAL_SECONDS", 86_400.0)
        yield
