"""The composition root: settings and routers in, a complete application out."""

import gc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware import Middleware

from app.core.health import Health
from app.core.logging import configure_logging
from app.core.openapi import describe_problems, operation_id
from app.core.piece import Check, Piece, check_order
from app.core.registry import PIECES, CoreSettings
from app.core.shutdown import Drain
from app.core.web.request_pass import RequestPass

log = structlog.get_logger(logger_name="app.settings")

OBJECTS_BETWEEN_COLLECTIONS = 5_000
"""How many more than before there must be until the newest are looked through for garbage. Requests
leave little; Python's own 700 is met every few of them."""

DOCS_PATH = "/docs"
"""Where FastAPI serves them, as long as it serves the document that they show."""


def create_app(
    settings: CoreSettings,
    *,
    routers: Sequence[APIRouter] = (),
    pieces: Sequence[Piece] = PIECES,
) -> FastAPI:
    """Build the application.

    Args:
        settings: complete and checked, see `load_settings`.
        routers: the service's own, included below `API_V1_STR`.
        pieces: in start order; another list is for tests.

    Raises:
        ValueError: the pieces cannot start in this order.
    """
    check_order(pieces)
    configure_logging(settings)
    for problem in settings.insecure() if settings.environment == "staging" else ():
        log.warning("production will refuse to start", problem=problem)
    app = FastAPI(
        title=settings.project_name,
        description=settings.project_description,
        version=settings.app_version,
        openapi_url="/openapi.json" if settings.serves_docs else None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
        dependencies=[
            each for piece in pieces if piece.dependencies for each in piece.dependencies(settings)
        ],
        lifespan=_lifespan(settings, pieces),
        middleware=_middleware(settings, pieces),
        telemetry=_telemetry(settings, pieces),
    )
    app.state.settings = settings
    app.state.health = Health(settings, list(_checks(settings, pieces)))
    app.state.drain = Drain(settings.shutdown_drain_seconds)
    for piece in pieces:
        for error, handler in piece.handlers.items():
            app.add_exception_handler(error, handler)
        for router in piece.routers(settings) if piece.routers else ():
            app.include_router(router)
    for router in routers:
        app.include_router(router, prefix=settings.api_v1_str)
    describe_problems(app)
    return app


def _checks(settings: CoreSettings, pieces: Sequence[Piece]) -> Iterator[Check]:
    for piece in pieces:
        yield from piece.checks
        yield from piece.further_checks(settings) if piece.further_checks else ()


def _middleware(settings: CoreSettings, pieces: Sequence[Piece]) -> list[Middleware]:
    outermost = Middleware(
        RequestPass,
        https_only=settings.in_production,
        docs_paths=frozenset({DOCS_PATH}),
        probe_paths=frozenset(settings.probe_paths()),
    )
    own = [each for piece in pieces if piece.middleware for each in piece.middleware(settings)]
    return [outermost, *own]


def _telemetry(settings: CoreSettings, pieces: Sequence[Piece]) -> TelemetryConfig | None:
    return next((piece.telemetry(settings) for piece in pieces if piece.telemetry), None)


def _lifespan(
    settings: CoreSettings, pieces: Sequence[Piece]
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with started(settings, pieces):
            with app.state.drain.installed():
                yield

    return lifespan


@asynccontextmanager
async def started(settings: CoreSettings, pieces: Sequence[Piece] = PIECES) -> AsyncIterator[None]:
    """Start all pieces, in their order, and stop them in reverse: also where nothing is served."""
    async with AsyncExitStack() as stack:
        for piece in pieces:
            if piece.lifespan:
                await stack.enter_async_context(piece.lifespan(settings))
        # All that is there by now stays: looking through it for garbage, again and again, would
        # take a twentieth of what requests cost; looking for theirs less often saves another.
        gc.freeze()
        stack.callback(gc.unfreeze)
        gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
        yield
