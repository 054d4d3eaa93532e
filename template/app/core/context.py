"""What belongs to the request at hand, wherever in the code one is."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.core.auth.principal import Principal

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
client: ContextVar[str | None] = ContextVar("client", default=None)
deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
"""Until when an answer is waited for, by the monotonic clock; see `app.core.deadline`."""
traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""The caller's trace (https://www.w3.org/TR/trace-context/), passed on as it came."""
job: ContextVar[Mapping[str, str] | None] = ContextVar("job", default=None)
"""What each log line of a job says about it."""
tenant: ContextVar[object] = ContextVar("tenant", default=None)
"""Whose rows are meant, where code says so itself; see `app.core.tenancy`."""
principal: "ContextVar[Principal | None]" = ContextVar("principal", default=None)
