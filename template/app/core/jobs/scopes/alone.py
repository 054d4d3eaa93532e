"""Whose jobs they are, where there are no tenants."""

from contextlib import AbstractContextManager, nullcontext


def tenant_of_jobs() -> str | None:
    """The tenant of a job that is enqueued here: there are none."""
    return None


def in_scope_of(_tenant: str | None) -> AbstractContextManager[None]:
    """Work as the tenant of a job: there are none."""
    return nullcontext()
