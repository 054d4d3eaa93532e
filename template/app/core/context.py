"""What belongs to the request at hand, wherever in the code one is."""

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.core.auth.principal import Principal

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
client: ContextVar[str | None] = ContextVar("client", default=None)
deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
"""Until when an answer is waited for, by the monotonic clock; see `app.core.deadline`."""
traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""Of which trace the request is a part (W3C Trace Context)."""
tenant: ContextVar[object] = ContextVar("tenant", default=None)
"""Whose rows are meant, where code says so itself; see `app.core.tenancy`."""
principal: "ContextVar[Principal | None]" = ContextVar("principal", default=None)
