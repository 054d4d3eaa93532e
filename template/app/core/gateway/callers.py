"""Whoever calls, as the gateway counts them, and for how long their token speaks for them."""

from time import time

from starlette.types import Scope

from app.core import context
from app.core.gateway.settings import Upstream
from app.core.web.client import client_network

LEEWAY_SECONDS = 30
"""How far clocks may be apart: a token is accepted for so long after its end."""

CallerName = tuple[str | None, ...]


def name_of(scope: Scope) -> CallerName:
    """Tell callers apart: by whom the token speaks for or, without one, by network."""
    principal = context.principal.get()
    if principal is None:
        return (client_network(scope),)
    return principal.provider, principal.subject


def seconds_left(upstream: Upstream) -> float | None:
    """How long the caller's token is still accepted; None where nobody asks for one."""
    principal = context.principal.get()
    if upstream.public or principal is None:
        return None
    return float(principal.claims["exp"]) + LEEWAY_SECONDS - time()
