"""Who may call an endpoint: anybody who is signed in, unless it says otherwise.

`@public` below the route's decorator opens an endpoint to everybody; a parameter of the type
`CurrentPrincipal` tells who calls; `dependencies=[Depends(require_role("auditor"))]` asks for more.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends

from app.core import context
from app.core.auth.principal import Principal
from app.core.auth.provider import FALLBACK
from app.core.errors import ForbiddenError, UnauthenticatedError

EndpointT = TypeVar("EndpointT", bound=Callable[..., Any])
Guard = Callable[[Principal], Awaitable[None]]


def public(endpoint: EndpointT) -> EndpointT:
    """Open an endpoint to everybody; all others want a token."""
    endpoint.__public__ = True  # type: ignore[attr-defined]
    return endpoint


def is_public(endpoint: object) -> bool:
    """Whether an endpoint is open to everybody."""
    return getattr(endpoint, "__public__", False) is True


async def current_principal() -> Principal:
    """Whoever is asking: a dependency.

    Raises:
        UnauthenticatedError: nobody has signed in.
    """
    principal = context.principal.get() or FALLBACK
    if principal is None:
        raise UnauthenticatedError("This needs a token: send `Authorization: Bearer <token>`")
    return principal


async def optional_principal() -> Principal | None:
    """Whoever is asking, or None: a dependency for public endpoints."""
    return context.principal.get() or FALLBACK


CurrentPrincipal = Annotated[Principal, Depends(current_principal)]
OptionalPrincipal = Annotated[Principal | None, Depends(optional_principal)]


def require_role(*roles: str) -> Guard:
    """Make a dependency that lets only principals pass that have one of the roles."""

    async def guard(principal: CurrentPrincipal) -> None:
        if principal.roles.isdisjoint(roles):
            raise ForbiddenError(f"This needs the role {' or '.join(roles)}")

    return guard


def require_scope(*scopes: str) -> Guard:
    """Make a dependency that lets only tokens pass that have all of the scopes."""
    wanted = " ".join(scopes)

    async def guard(principal: CurrentPrincipal) -> None:
        if not principal.scopes.issuperset(scopes):
            challenge = f'Bearer error="insufficient_scope", scope="{wanted}"'  # RFC 6750, 3.1
            raise ForbiddenError(
                f"This needs a token with the scope {wanted}",
                headers={"WWW-Authenticate": challenge},
            )

    return guard
