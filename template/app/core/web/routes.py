"""Reading FastAPI's route table, whose internals move: all of it is done here."""

from collections.abc import Iterator

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.types import Scope

UNMATCHED = "unmatched"


def route_template(scope: Scope) -> str:
    """The full path template that a request matched, such as `/api/v1/projects/{project_id}`.

    Since FastAPI 0.137 `scope["route"].path` lacks the prefix of the including router. Requests
    that match nothing share one label, so that scanners cannot fill the metrics.
    """
    matched = scope.get("fastapi", {}).get("effective_route_context")
    if matched is not None:
        return str(matched.path_format)
    return str(getattr(scope.get("route"), "path", UNMATCHED))


def route_paths(app: FastAPI) -> Iterator[tuple[str, frozenset[str]]]:
    """Every path template of the application with its methods."""
    for route in iter_route_contexts(app.routes):
        yield route.path or "", frozenset(route.methods or ())
