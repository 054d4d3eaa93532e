"""What the requests and responses of an application consist of."""

from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, get_args, get_type_hints, is_typeddict

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel


def routes(app: FastAPI) -> Iterator[APIRoute]:
    """The routes of an application, those of its routers too."""
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute):
            yield context.original_route


def tables_in_bodies(app: FastAPI) -> Iterator[str]:
    """Name each class of a table that a request or a response is made of, however deep inside."""
    for route in routes(app):
        for annotation in _bodies(route):
            for part in _parts(annotation):
                if hasattr(part, "__table__"):
                    yield f"{route.path}: {part.__name__}"


def _bodies(route: APIRoute) -> Iterator[Any]:
    yield route.response_model
    yield from (answer.get("model") for answer in route.responses.values())
    yield from _request_bodies(route.dependant)


def _request_bodies(dependant: Dependant) -> Iterator[Any]:
    yield from (field.field_info.annotation for field in dependant.body_params)
    for dependency in dependant.dependencies:
        yield from _request_bodies(dependency)


def _parts(annotation: Any) -> set[type]:
    found: set[type] = set()
    waiting = [annotation]
    while waiting:
        part = waiting.pop()
        waiting.extend(get_args(part))
        if isinstance(part, type) and part not in found:
            found.add(part)
            waiting.extend(_fields(part))
    return found


def _fields(part: type) -> Iterator[Any]:
    if issubclass(part, BaseModel):
        yield from (field.annotation for field in part.model_fields.values())
    elif is_dataclass(part) or is_typeddict(part):
        yield from get_type_hints(part).values()
