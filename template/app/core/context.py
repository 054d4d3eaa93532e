"""What belongs to the request at hand, wherever in the code one is."""

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.core.auth.principal import Principal

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
client: ContextVar[str | None] = ContextVar("client", default=None)
principal: "ContextVar[Principal | None]" = ContextVar("principal", default=None)
