"""Health: does the process live, is it ready to serve, and how is each component?"""

import asyncio
import ipaddress
import platform
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from app.core.auth import OptionalPrincipal, public
from app.core.errors import ForbiddenError
from app.core.limits import unlimited
from app.core.piece import Check, DegradedError, Details, Piece
from app.core.web.client import client_address
from app.core.web.routes import Router

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

log = structlog.get_logger(logger_name="app.health")

Status = Literal["up", "down", "degraded"]
CACHE_SECONDS = 1.0
"""Probes of several observers share one look; short enough to notice an outage at once."""


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Component(BaseModel):
    """State of one thing that the service depends on."""

    status: Status
    latency_ms: float


class DetailedComponent(Component):
    """The same with what helps an operator."""

    details: dict[str, Any] = {}


class Readiness(BaseModel):
    """Whether traffic should come here."""

    status: Literal["ready", "not_ready"]
    components: dict[str, Component]


class DetailedHealth(BaseModel):
    """Everything an operator asks first."""

    status: Literal["ready", "not_ready"]
    version: str
    environment: str
    runtime: dict[str, str]
    components: dict[str, DetailedComponent]


@dataclass(slots=True)
class Health:
    """Asks all checks at once, each with its time limit, and remembers the answers shortly."""

    settings: "CoreSettings"
    checks: Sequence[Check]
    _report: dict[str, DetailedComponent] = field(default_factory=dict)
    _asked_at: float = float("-inf")
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _abandoned: "set[asyncio.Future[Details]]" = field(default_factory=set)

    async def report(self) -> Mapping[str, DetailedComponent]:
        """The state of every component by name, at most `CACHE_SECONDS` old."""
        async with self._asking:
            if monotonic() - self._asked_at > CACHE_SECONDS:
                states = await asyncio.gather(*(self._ask(check) for check in self.checks))
                names = [check.name for check in self.checks]
                self._report = dict(zip(names, states, strict=True))
                self._asked_at = monotonic()
        return self._report

    async def _ask(self, check: Check) -> DetailedComponent:
        started = perf_counter()
        details: Details = {}
        status: Status = "up"
        probe = asyncio.ensure_future(check.probe(self.settings))
        try:
            # Not `asyncio.timeout`: that waits for the probe to clean up, which may take as long.
            done, _ = await asyncio.wait([probe], timeout=check.timeout)
            if not done:
                self._abandon(probe)
                raise TimeoutError(f"no answer within {check.timeout} s")  # noqa: TRY301
            details = probe.result()
        except Exception as error:  # noqa: BLE001 - whatever it raises, the component is not up
            status = "down" if check.required else "degraded"
            details = error.details if isinstance(error, DegradedError) else {}
            self._log_once(check, status, error)
        latency = round((perf_counter() - started) * 1000, 2)
        return DetailedComponent(status=status, latency_ms=latency, details=dict(details))

    def _abandon(self, probe: "asyncio.Future[Details]") -> None:
        probe.cancel()
        self._abandoned.add(probe)
        probe.add_done_callback(self._abandoned.discard)

    def _log_once(self, check: Check, status: Status, error: Exception) -> None:
        before = self._report.get(check.name)
        if before is None or before.status != status:
            cause = error.__cause__ or error
            reason = f"{type(cause).__name__}: {cause}"
            log.warning("component fails", component=check.name, status=status, reason=reason)


def _settings(request: Request) -> "CoreSettings":
    settings: CoreSettings = request.app.state.settings
    return settings


@public
async def get_alive() -> Alive:
    """Answer as long as the process lives; touches nothing else."""
    return Alive()


class _AliveRoute(APIRoute):
    """Answers without looking at the request: neither dependencies nor validation can fail."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Make the handler, which says the same each time."""
        alive = Alive().model_dump_json().encode()

        async def answer(_: Request) -> Response:
            return Response(alive, media_type="application/json")

        return answer


def _add_alive(router: APIRouter, name: str) -> None:
    add = partial(router.add_api_route, "/health", get_alive, route_class_override=_AliveRoute)
    add(methods=["GET"], name=name)
    add(methods=["HEAD"], include_in_schema=False)


@public
@unlimited
async def get_readiness(request: Request, response: Response) -> Readiness:
    """Answer 200 when everything that the service needs answers, otherwise 503."""
    components: dict[str, Component] = dict(await request.app.state.health.report())
    if request.app.state.drain.draining:
        components["shutdown"] = Component(status="down", latency_ms=0)
    ready = all(component.status != "down" for component in components.values())
    response.status_code = 200 if ready else 503
    return Readiness(status="ready" if ready else "not_ready", components=components)


async def operators_only(request: Request, principal: OptionalPrincipal) -> None:
    """Let only callers pass that are operators or come from `INTERNAL_NETWORKS`.

    Raises:
        ForbiddenError: the caller is neither.
    """
    if principal and principal.operator:
        return
    address = client_address(request.scope)
    networks = _settings(request).internal_networks
    if address is None or not any(address in ipaddress.ip_network(net) for net in networks):
        raise ForbiddenError("Only operators and INTERNAL_NETWORKS may read this")


@public
async def get_details(request: Request, readiness: "ReadinessDep") -> DetailedHealth:
    """Versions, pools and revisions, for operators."""
    settings = _settings(request)
    return DetailedHealth(
        status=readiness.status,
        version=settings.app_version,
        environment=settings.environment,
        runtime={
            "python": platform.python_version(),
            "fastapi": version("fastapi"),
            "sqlalchemy": version("sqlalchemy"),
        },
        components=dict(await request.app.state.health.report()),
    )


ReadinessDep = Annotated[Readiness, Depends(get_readiness)]


def _routers(settings: "CoreSettings") -> Sequence[APIRouter]:
    unready: dict[int | str, dict[str, Any]] = {503: {"model": Readiness}}
    root = Router(tags=["health"])
    _add_alive(root, "health")
    root.get("/ready", name="ready", responses=unready)(get_readiness)
    root.head("/ready", include_in_schema=False)(get_readiness)
    root.get(
        "/health/detailed",
        name="health_detailed",
        dependencies=[Depends(operators_only)],
        responses={503: {"model": DetailedHealth}},
    )(get_details)

    public = Router(prefix=f"{settings.api_v1_str}/public", tags=["health"])
    _add_alive(public, "public_health")
    public.get("/health/ready", name="public_ready", responses=unready)(get_readiness)
    public.head("/health/ready", include_in_schema=False)(get_readiness)
    return [root, public]


piece = Piece(name="health", routers=_routers)
