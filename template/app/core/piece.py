"""What a piece of the service is: one small object that says how it attaches itself."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from fastapi.params import Depends
from fastapi.telemetry import TelemetryConfig
from starlette.middleware import Middleware

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

Details = Mapping[str, Any]
Handler = Callable[[Request, Any], Awaitable[Response]]


class DegradedError(Exception):
    """A component is not as it should be, and has something to tell about it."""

    def __init__(self, details: Details) -> None:
        super().__init__(type(self).__name__)
        self.details = details


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question to something the service depends on.

    Attributes:
        name: the component's name in the reports.
        probe: answers with details for `/health/detailed`, or raises when the component is down.
        required: whether the service is not ready without it; otherwise it is only degraded.
        timeout: seconds after which no answer counts as down.
    """

    name: str
    probe: Callable[["CoreSettings"], Awaitable[Details]]
    required: bool = True
    timeout: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of the running service, listed in `app.core.registry`.

    Attributes:
        name: unique, and what other pieces call it in `needs`.
        needs: pieces that stand before this one in the registry.
        lifespan: starts the piece when entered and stops it when left.
        around_server: is entered by the process that starts those of the server, and left when
            they have ended.
        around_worker: the same for the processes of a worker.
        telemetry: what FastAPI itself records of requests.
        checks: what `/ready` and `/health/detailed` ask.
        further_checks: the same, of what only the settings name.
        routers: endpoints outside of the versioned API.
        dependencies: what every endpoint but `/health` depends on, in this order, before its own.
        middleware: pure ASGI middleware, outermost first.
        handlers: how exceptions of this piece are answered.
    """

    name: str
    needs: tuple[str, ...] = ()
    lifespan: "Callable[[CoreSettings], AbstractAsyncContextManager[None]] | None" = None
    around_server: "Callable[[CoreSettings], AbstractContextManager[None]] | None" = None
    around_worker: "Callable[[CoreSettings], AbstractContextManager[None]] | None" = None
    telemetry: "Callable[[CoreSettings], TelemetryConfig] | None" = None
    checks: tuple[Check, ...] = ()
    further_checks: "Callable[[CoreSettings], Sequence[Check]] | None" = None
    routers: "Callable[[CoreSettings], Sequence[APIRouter]] | None" = None
    dependencies: "Callable[[CoreSettings], Sequence[Depends]] | None" = None
    middleware: "Callable[[CoreSettings], Sequence[Middleware]] | None" = None
    handlers: Mapping[type[Exception], Handler] = field(default_factory=dict)


def check_order(pieces: Sequence[Piece]) -> None:
    """Refuse a registry whose pieces cannot start in the order in which they are listed.

    Raises:
        ValueError: a name is listed twice, or a piece stands before one that it needs.
    """
    seen: set[str] = set()
    for piece in pieces:
        if piece.name in seen:
            raise ValueError(f"the registry lists the piece {piece.name!r} twice")
        if missing := [name for name in piece.needs if name not in seen]:
            raise ValueError(f"the piece {piece.name!r} must stand after {', '.join(missing)}")
        seen.add(piece.name)
