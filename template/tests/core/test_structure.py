"""Rules of the house, kept by looking at what is really there."""

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table
from sqlalchemy.orm import configure_mappers
from starlette.middleware.base import BaseHTTPMiddleware

from app.config import Settings
from app.core.application import create_app
from app.core.database.layout import DATABASES
from app.core.discovery import discover_routers, import_submodules
from app.core.piece import Piece, check_order
from app.core.registry import PIECES
from tests.core.bodies import routes, tables_in_bodies
from tests.core.first_database import ExtraModel
from tests.core.plugin import with_changes

USER_PACKAGES = {
    "api",
    "config",
    "jobs",
    "main",
    "models",
    "repositories",
    "schemas",
    "seed",
    "services",
    "worker",
}


def test_the_pieces_can_start_in_their_order() -> None:
    check_order(PIECES)


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([Piece(name="a"), Piece(name="a")], "twice"),
        ([Piece(name="b", needs=("a",)), Piece(name="a")], "must stand after a"),
        ([Piece(name="b", needs=("a",))], "must stand after a"),
    ],
)
def test_a_wrong_order_is_refused(pieces: list[Piece], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_order(pieces)


def test_an_application_cannot_be_built_in_a_wrong_order(settings: Settings) -> None:
    with pytest.raises(ValueError, match="twice"):
        create_app(settings, pieces=[*PIECES, PIECES[0]])


async def test_middleware_is_pure_asgi(app: FastAPI) -> None:
    for middleware in app.user_middleware:
        assert not issubclass(middleware.cls, BaseHTTPMiddleware)  # type: ignore[arg-type]


async def test_nothing_runs_in_the_thread_pool_unasked(app: FastAPI) -> None:
    for route in routes(app):
        for call in calls(route.dependant):
            run = call if inspect.isroutine(call) else type(call).__call__
            assert inspect.iscoroutinefunction(run) or inspect.isasyncgenfunction(run), call


def calls(dependant: Dependant) -> Iterator[object]:
    if dependant.call is not None:
        yield dependant.call
    for dependency in dependant.dependencies:
        yield from calls(dependency)


async def test_every_endpoint_declares_what_it_returns(app: FastAPI) -> None:
    for route in routes(app):
        assert route.response_model is not None or route.status_code == 204, route.path


class Drawer(ExtraModel):
    """A table."""

    __tablename__ = "drawers_of_the_tests"


class Cabinet(BaseModel):
    """A body with a table inside."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    drawers: list[Drawer] | None


class Room(BaseModel):
    cabinets: dict[str, Cabinet]


async def test_no_table_goes_in_or_out(app: FastAPI) -> None:
    assert list(tables_in_bodies(app)) == []


def test_a_table_that_goes_in_or_out_is_seen() -> None:
    async def need(_: Cabinet) -> None:
        pass

    router = APIRouter()
    router.add_api_route("/out", lambda: None, response_model=Room)
    router.add_api_route("/error", lambda: None, responses={404: {"model": list[Cabinet]}})
    router.add_api_route("/in", lambda: None, dependencies=[Depends(need)], methods=["POST"])
    app = FastAPI()
    app.include_router(router)
    assert sorted(tables_in_bodies(app)) == ["/error: Drawer", "/in: Drawer", "/out: Drawer"]


async def test_operation_ids_are_unique(app: FastAPI) -> None:
    operations = [
        operation["operationId"]
        for path in app.openapi()["paths"].values()
        for operation in path.values()
    ]
    assert len(operations) == len(set(operations))
    assert {"health-health", "health-ready"} <= set(operations)


async def test_the_document_says_what_it_describes(settings: Settings) -> None:
    said = {"project_name": "Some name", "project_description": "*Some*", "app_version": "7.8.9"}
    described = create_app(with_changes(settings, **said)).openapi()["info"]
    assert described == {"title": "Some name", "description": "*Some*", "version": "7.8.9"}


async def test_every_operation_names_its_problems(app: FastAPI) -> None:
    document = app.openapi()
    assert "Problem" in document["components"]["schemas"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path in document["paths"].values():
        for operation in path.values():
            assert {"4XX", "5XX"} <= operation["responses"].keys()


def test_relationships_are_never_loaded_behind_one_s_back() -> None:
    import_submodules("app.models")
    configure_mappers()
    for database in DATABASES:
        for mapper in database.base.registry.mappers:
            for relationship in mapper.relationships:
                assert relationship.lazy in {"raise", "raise_on_sql", "selectin", "joined"}


def test_no_foreign_key_leads_into_another_database() -> None:
    import_submodules("app.models")
    for database in DATABASES:
        assert list(keys_that_lead_away(database.metadata, database.name)) == []


def keys_that_lead_away(metadata: MetaData, name: str) -> Iterator[str]:
    """Name the foreign keys of which the other end is not there."""
    for table in metadata.tables.values():
        for key in table.foreign_keys:
            target = key.target_fullname.partition(".")[0]
            if target not in metadata.tables:
                yield (
                    f"{table.name}.{key.parent.name} leads to {target}, which is not in the {name}:"
                    " store the id without a foreign key, and let the service check it"
                )


def test_a_foreign_key_that_leads_away_is_seen() -> None:
    metadata = MetaData()
    there = ForeignKey("things.id"), ForeignKey("elsewhere.id")
    Table("things", metadata, Column("id", Integer), *(Column(k.target_fullname, k) for k in there))
    [message] = keys_that_lead_away(metadata, "user_database")
    assert message.startswith(
        "things.elsewhere.id leads to elsewhere, which is not in the user_database"
    )


def test_the_foundation_does_not_know_the_service() -> None:
    for file in Path("app/core").rglob("*.py"):
        for name in imported(file):
            parts = name.split(".")
            assert parts[0] != "tests", file
            if file.parts[:3] != ("app", "core", "development"):
                assert parts[:1] != ["app"] or parts[1] not in USER_PACKAGES, f"{file}: {name}"


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_a_module_without_a_router_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = ModuleType("app.api.v1.empty")
    monkeypatch.setitem(sys.modules, empty.__name__, empty)
    monkeypatch.setattr("app.core.discovery.import_submodules", lambda _: [empty])
    with pytest.raises(TypeError, match=r"app\.api\.v1\.empty must define `router`"):
        discover_routers("app.api.v1")
