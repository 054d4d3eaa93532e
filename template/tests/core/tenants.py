"""Tenants: fixtures of all tests, and an attack of one on another by every route."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy import Connection, event, select

from app.core.database.base import OWNED
from app.core.database.handle import ServiceSession
from app.core.database.layout import DATABASES
from app.core.tenancy import across_tenants, net
from app.core.tenancy.directory import directory
from app.core.tenancy.owned import TenantOwned
from app.core.tenancy.scope import ACROSS, Scope
from app.core.tenancy.third_net import tell_database
from tests.core.issuing.base import Issuer, bearer
from tests.core.plugin import caller_of

SECRET = "only-for-the-owner"  # noqa: S105
Rows = dict[str, list[tuple[Any, ...]]]
Operation = tuple[str, str, dict[str, Any]]


@dataclass
class Bodies:
    """Makes request bodies from an OpenAPI document."""

    document: dict[str, Any]

    def body(self, operation: dict[str, Any]) -> Any:
        content = operation.get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema")
        return None if schema is None else self.value(schema)

    def value(self, schema: dict[str, Any]) -> Any:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return self.value(self.document["components"]["schemas"][name])
        if variants := schema.get("anyOf") or schema.get("oneOf"):
            return self.value(variants[0])
        kind = schema.get("type")
        if kind == "object":
            return {name: self.value(part) for name, part in schema.get("properties", {}).items()}
        if kind == "array":
            return [self.value(schema.get("items", {}))]
        return self._scalar(kind, schema)

    def _scalar(self, kind: str | None, schema: dict[str, Any]) -> Any:
        if "enum" in schema:
            return schema["enum"][0]
        simple = {"integer": 1, "number": 1, "boolean": True, "null": None}
        if kind in simple:
            return simple[kind]
        formats = {"email": f"{SECRET}@example.com", "uuid": str(uuid4())}
        return formats.get(schema.get("format", ""), SECRET)


@dataclass
class Tenancy:
    """Two tenants of one application, of which the first one has stored something."""

    app: FastAPI
    owner: AsyncClient
    stranger: AsyncClient
    owner_id: UUID
    found: dict[str, str] = field(default_factory=dict)

    @property
    def operations(self) -> list[Operation]:
        """Every operation, shortest paths first: what is nested comes after what it needs."""
        paths: dict[str, dict[str, Any]] = self.app.openapi()["paths"]
        return [
            (method.upper(), path, operation)
            for path, methods in sorted(paths.items(), key=lambda item: len(item[0]))
            for method, operation in methods.items()
        ]

    async def call(self, caller: AsyncClient, operation: Operation) -> Response:
        method, path, described = operation
        body = Bodies(self.app.openapi()).body(described)
        address = path.format_map(_Known(self.found))
        return await caller.request(method, address, json=body)

    async def store(self) -> None:
        """Let the owner make one of everything, and remember the ids by their place in paths."""
        for operation in self.operations:
            if operation[0] == "POST":
                answer = await self.call(self.owner, operation)
                self._remember(operation[1], answer)

    def _remember(self, path: str, answer: Response) -> None:
        made = answer.json() if answer.status_code == 201 else None
        if isinstance(made, dict) and "id" in made:
            for _, other, _ in self.operations:
                if other.startswith(f"{path}/{{"):
                    name = other.removeprefix(f"{path}/{{").partition("}")[0]
                    self.found[name] = made["id"]

    async def rows(self) -> Rows:
        """Everything that the owner owns, in every database."""
        stored: Rows = {}
        with across_tenants("test"):
            for database in DATABASES:
                async with database.session_context() as session:
                    for table in database.metadata.sorted_tables:
                        if column := table.info.get(OWNED):
                            mine = table.c[column] == self.owner_id
                            statement = select(table).where(mine).order_by(table.c.id)
                            rows = (await session.execute(statement)).all()
                            stored[table.name] = [tuple(row) for row in rows]
        return stored

    async def attack(self) -> list[str]:
        """Let the other tenant try every operation on what is the owner's; name what it got."""
        before, got = await self.rows(), []
        for operation in self.operations:
            answer = await self.call(self.stranger, operation)
            named = f"{operation[0]} {operation[1]}: {answer.status_code}"
            if answer.status_code >= 500:
                got.append(f"{named}, an error")
            elif any(identifier in answer.text for identifier in self.found.values()):
                if answer.status_code < 400:  # a 404 names what was asked for
                    got.append(f"{named}, with the owner's ids")
            elif "{" in operation[1] and answer.status_code < 400:
                got.append(named)
        if await self.rows() != before:
            got.append("the owner's rows have changed")
        return got


class _Known(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return str(uuid4())


@pytest.fixture
async def tenancy(app: FastAPI, rolled_back: None, issuer: Issuer) -> AsyncIterator[Tenancy]:
    owner, stranger = uuid4(), uuid4()
    async with AsyncExitStack() as stack:
        callers = [
            await stack.enter_async_context(
                caller_of(app, headers=bearer(issuer.token(str(each), tenant=str(each))))
            )
            for each in (owner, stranger)
        ]
        both = Tenancy(app, callers[0], callers[1], owner)
        for caller in callers:
            assert (await caller.get("/api/v1/tenant")).status_code == 200
        await both.store()
        yield both


@pytest.fixture
def without_repository_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(TenantOwned, "__visible_rows__")


@pytest.fixture
def without_session_net() -> Iterator[None]:
    event.remove(ServiceSession, "do_orm_execute", net._confine)
    yield
    event.listen(ServiceSession, "do_orm_execute", net._confine)


@pytest.fixture
def without_last_net(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_all(connection: Connection, _scope: Scope) -> None:
        tell_database(connection, ACROSS)

    monkeypatch.setattr(net, "tell_database", open_all)
    monkeypatch.setattr(net, "refuse_unconfined", lambda _: None)


@pytest.fixture(autouse=True)
def _nobody_admitted() -> Iterator[None]:
    """What one test stored is gone in the next, so that tenants must be asked for again."""
    directory.forget_all()
    yield
    directory.forget_all()
