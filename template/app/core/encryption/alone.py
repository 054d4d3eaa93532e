"""Reaching all rows: nothing stands between tenants, since there are none."""

from contextlib import AbstractContextManager, nullcontext


def everywhere(_reason: str) -> AbstractContextManager[None]:
    """Work with all rows."""
    return nullcontext()
