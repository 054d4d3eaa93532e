"""What belongs to the request at hand, wherever in the code one is."""

from contextvars import ContextVar

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
