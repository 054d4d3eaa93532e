"""How the figures attach themselves to the service."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from app.core.auth import public
from app.core.health import operators_only
from app.core.limits import unlimited
from app.core.metrics.measurements import current, measuring
from app.core.metrics.processes import counted_together
from app.core.metrics.settings import PATH
from app.core.piece import Piece
from app.core.web.routes import Router

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


class Figures(PlainTextResponse):
    """Figures as Prometheus reads them."""

    media_type = CONTENT_TYPE_PLAIN_0_0_4


@public
@unlimited
async def get_metrics(request: Request) -> str:
    """Figures for Prometheus, for operators and INTERNAL_NETWORKS only."""
    text = await current().text(await request.app.state.health.report())
    return text.decode()


def _routers(_: "CoreSettings") -> Sequence[APIRouter]:
    router = Router(include_in_schema=False, default_response_class=Figures)
    router.get(PATH, dependencies=[Depends(operators_only)])(get_metrics)
    return [router]


def _around_server(settings: "CoreSettings") -> AbstractContextManager[None]:
    return counted_together() if settings.web_concurrency > 1 else nullcontext()


piece = Piece(
    name="metrics",
    needs=("errors", "health", "jobs"),
    lifespan=measuring,
    around_server=_around_server,
    routers=_routers,
)
