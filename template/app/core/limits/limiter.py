"""Counting requests, and refusing those that are too many.

Counted is who is asking: the principal or, without one, the address. For IPv6 that is the /64
network, since a caller commands all addresses of it.

`Depends(rate_limit("10/minute"))` limits an endpoint, or each endpoint of a router; `@unlimited`
frees one from the limit that all have (`RATE_LIMIT_DEFAULT`).
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from math import ceil
from time import time
from typing import Any, TypeVar

import structlog
from limits import RateLimitItem, RateLimitItemPerMinute, parse_many
from limits.aio.storage import Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.requests import HTTPConnection

from app.core import context
from app.core.audit import audit
from app.core.errors import RateLimitedError, ServiceUnavailableError
from app.core.signals import Signal
from app.core.web.client import client_network
from app.core.web.routes import route_template

log = structlog.get_logger(logger_name="app.limits")

EndpointT = TypeVar("EndpointT", bound=Callable[..., Any])
Guard = Callable[[HTTPConnection], Awaitable[None]]

exceeded: Signal[[]] = Signal()
"""Told of each request that is one too many."""

SCOPE_KEY = "app.limits"
_NAMESPACE = "LIMITS"
_AUDITED = RateLimitItemPerMinute(1, namespace=_NAMESPACE)
"""How often a caller who goes on and on is told of in the audit log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One limit.

    Attributes:
        name: what clients see.
        counted: requests of one caller with the same word here are counted together.
        item: how many in which time.
        fail_open: whether requests pass when nobody can count them.
    """

    name: str
    counted: str
    item: RateLimitItem
    fail_open: bool


@dataclass(frozen=True, slots=True)
class Quota:
    """What is left to a caller: so many requests, more of them in so many seconds."""

    policy: Policy
    remaining: int
    seconds: int


def parse_limits(text: str) -> tuple[RateLimitItem, ...]:
    """Read limits such as `10/minute` or `5/second; 100/minute`.

    Raises:
        ValueError: it is none.
    """
    try:
        items = parse_many(text)
    except ValueError:
        items = []
    if not items or any(item.amount < 1 for item in items):
        raise ValueError("must be limits such as 10/minute or 5/second; 100/minute")
    for item in items:
        item.namespace = _NAMESPACE
    return tuple(items)


def policies(
    items: Sequence[RateLimitItem], name: str, *, counted: str, fail_open: bool = True
) -> tuple[Policy, ...]:
    """Name limits that hold together; the names differ."""
    return tuple(
        Policy(
            name=name if number == 1 else f"{name}-{number}",
            counted=counted,
            item=item,
            fail_open=fail_open,
        )
        for number, item in enumerate(items, 1)
    )


class Limiter:
    """Counts requests, wherever the storage keeps the counts."""

    def __init__(self, storage: Storage) -> None:
        self._windows = SlidingWindowCounterRateLimiter(storage)
        self._failing = False

    async def count(self, policy: Policy, caller: str) -> Quota | None:
        """Count one request.

        Returns:
            What is left; None when nobody can count and the limit lets pass.

        Raises:
            RateLimitedError: it is one too many; the quota is the error's `quota`.
            ServiceUnavailableError: nobody can count, and the limit is closed then.
        """
        try:
            passes, quota, to_audit = await self._ask(policy, caller)
        except Exception as error:
            self._log_once(error)
            if policy.fail_open:
                return None
            raise ServiceUnavailableError("Requests cannot be counted now") from error
        self._failing = False
        if passes:
            return quota
        if to_audit:
            audit("rate_limit.exceeded", limit=policy.counted, allowed=str(policy.item))
        exceeded()
        raise TooManyRequestsError(quota)

    async def _ask(self, policy: Policy, caller: str) -> tuple[bool, Quota, bool]:
        key = policy.counted, caller
        passes = await self._windows.hit(policy.item, *key)
        left = await self._windows.get_window_stats(policy.item, *key)
        quota = Quota(policy, left.remaining, max(1, ceil(left.reset_time - time())))
        if passes:
            return True, quota, False
        return False, quota, await self._windows.hit(_AUDITED, f"audit/{key[0]}", caller)

    def _log_once(self, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            log.warning("requests cannot be counted", reason=type(error).__name__)


class TooManyRequestsError(RateLimitedError):
    """A limit is reached."""

    def __init__(self, quota: Quota) -> None:
        super().__init__(
            f"At most {quota.policy.item}: try again in {quota.seconds} s",
            retry_after=quota.seconds,
        )
        self.quota = quota


@dataclass(slots=True)
class Counting:
    """What is counted of one request, and what its caller is told."""

    limiter: Limiter
    default: tuple[Policy, ...]
    quotas: list[Quota] = field(default_factory=list)
    counted: bool = False

    async def count_by_default(self, connection: HTTPConnection) -> None:
        """Count a request towards the limit that all endpoints have, once.

        Raises:
            RateLimitedError: it is one too many.
        """
        if not self.counted:
            self.counted = True
            await self.count(self.default, connection)

    async def count(self, wanted: Sequence[Policy], connection: HTTPConnection) -> None:
        """Count a request towards limits.

        Raises:
            RateLimitedError: it is one too many.
            ServiceUnavailableError: nobody can count, and a limit is closed then.
        """
        caller = _caller(connection)
        for policy in wanted:
            try:
                quota = await self.limiter.count(policy, caller)
            except TooManyRequestsError as error:
                self.quotas.append(error.quota)
                raise
            if quota is not None:
                self.quotas.append(quota)


def unlimited(endpoint: EndpointT) -> EndpointT:
    """Free an endpoint from the limit that all have: for probes."""
    endpoint.__unlimited__ = True  # type: ignore[attr-defined]
    return endpoint


async def count_request(connection: HTTPConnection) -> None:
    """Count a request of any endpoint: a dependency.

    Raises:
        RateLimitedError: it is one too many.
    """
    if not getattr(connection.scope["endpoint"], "__unlimited__", False):
        await counting(connection).count_by_default(connection)


def rate_limit(limit: str, *, name: str | None = None, fail_open: bool = True) -> Guard:
    """Make a dependency that limits how often each caller may ask.

    Args:
        limit: such as `10/minute`, or several: `5/second; 100/minute`.
        name: counts all endpoints together that have a limit of this name; without one, each
            endpoint is counted alone.
        fail_open: whether requests pass while nobody can count them. Say False where the limit
            protects something, such as a password: then they are answered with 503.

    Raises:
        ValueError: that is no limit.
    """
    items = parse_limits(limit)

    async def guard(connection: HTTPConnection) -> None:
        endpoint = f"{connection.scope.get('method')} {route_template(connection.scope)}"
        limits = policies(items, name or "endpoint", counted=name or endpoint, fail_open=fail_open)
        await counting(connection).count(limits, connection)

    return guard


def counting(connection: HTTPConnection) -> Counting:
    """What is counted of a request."""
    found: Counting = connection.scope[SCOPE_KEY]
    return found


def _caller(connection: HTTPConnection) -> str:
    """Name who is asking, in few letters that tell nothing."""
    principal = context.principal.get()
    parts = (
        ["principal", principal.provider, principal.tenant, principal.subject]
        if principal is not None
        else ["address", client_network(connection.scope)]
    )
    # JSON keeps the parts apart, whatever is in them.
    return blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
