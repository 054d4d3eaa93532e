"""Whose jobs they are, where there are no tenants."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


def tenant_of_jobs() -> str | None:
    """The tenant of a job that is enqueued here: there are none."""
    return None


@asynccontextmanager
async def in_scope_of(_tenant: str | None) -> AsyncIterator[None]:
    """Work as the tenant of a job: there are none."""
    yield
