"""The OpenAPI document: every operation names the problem that it may answer with."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from app.core.auth.access import current_principal, is_public, optional_principal
from app.core.problems import MEDIA_TYPE, Problem

_PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_ERRORS = {
    "4XX": {"description": "The request cannot be served", "content": _PROBLEM},
    "5XX": {"description": "The service cannot serve it now", "content": _PROBLEM},
}
_REPLACED = ("HTTPValidationError", "ValidationError")


def operation_id(route: APIRoute) -> str:
    """Short, unique and readable in generated clients: `projects-create_project`."""
    return f"{route.tags[0]}-{route.name}" if route.tags else route.name


def describe_problems(app: FastAPI) -> None:
    """Replace FastAPI's own description of errors, which this service does not send."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_problems(_opened(app, generate()))
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _opened(app: FastAPI, document: dict[str, Any]) -> dict[str, Any]:
    """Say of public operations that they need no token, and which take one."""
    for route in iter_route_contexts(app.routes):
        if not is_public(route.endpoint):
            continue
        for method in route.methods or ():
            operation = document["paths"].get(route.path_format, {}).get(method.lower(), {})
            asked = set(_dependencies(route.dependant)) if "security" in operation else set()
            if optional_principal in asked:
                operation["security"].insert(0, {})
            elif current_principal not in asked:
                operation.pop("security", None)
    return document


def _dependencies(dependant: Dependant) -> Iterator[object]:
    for each in dependant.dependencies:
        yield each.call
        yield from _dependencies(each)


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema()
    for name in _REPLACED:
        schemas.pop(name, None)
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            operation["responses"].update(_ERRORS)
    return document
