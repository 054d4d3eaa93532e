"""Reading FastAPI's route table, whose internals move: all of it is done here."""

import re
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Match, compile_path
from starlette.types import Scope

UNMATCHED = "unmatched"
_PARAMETER = re.compile(r"\{[^}]*\}")


class Router(APIRouter):
    """FastAPI's, which looks at the path before it tries one route after the other.

    Otherwise each request pays for all routes of all routers that come before its own.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._looked_through = 0
        self._fixed: frozenset[tuple[str, ...]] = frozenset()

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether a route of it answers a request."""
        path: str = scope["path"]
        if not any(all(part in path for part in parts) for parts in self._fixed_parts()):
            return Match.NONE, {}
        return super().matches(scope)

    def _fixed_parts(self) -> frozenset[tuple[str, ...]]:
        """What the paths of its routes have around their parameters."""
        if self._looked_through != len(self.routes):
            # A router that was included has no path, but begins with the prefix of this one.
            paths = {getattr(route, "path", self.prefix) for route in self.routes}
            self._fixed = frozenset(tuple(_PARAMETER.split(path)) for path in paths)
            self._looked_through = len(self.routes)
        return self._fixed


def route_template(scope: Scope) -> str:
    """The full path template that a request matched, such as `/api/v1/projects/{project_id}`.

    Since FastAPI 0.137 `scope["route"].path` lacks the prefix of the including router. Requests
    that match nothing share one label, so that scanners cannot fill the metrics.
    """
    matched = scope.get("fastapi", {}).get("effective_route_context")
    if matched is not None:
        # A WebSocket's is only in the route that was made of both.
        route = getattr(matched, "starlette_route", None)
        return str(getattr(route, "path_format", None) or matched.path_format)
    return str(getattr(scope.get("route"), "path", UNMATCHED))


def allowed_methods(app: FastAPI, path: str) -> set[str]:
    """Every method that the routes of a path answer: the router itself looks at one of them.

    What the Allow header of a 405 must say (RFC 9110, 15.5.6).
    """
    methods: set[str] = set()
    for route in iter_route_contexts(app.routes):
        pattern, _, _ = compile_path(route.path or "")
        if pattern.match(path):
            methods |= set(route.methods or ())
    return methods
