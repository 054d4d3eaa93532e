"""Doing once what a caller asks for twice: POST with an `Idempotency-Key`.

A router whose `route_class` is `once(keys)` answers a POST that comes again, from the same caller
with the same key and the same body, with the answer of the first. The answer is stored in the
transaction of what the endpoint does: either both are there or none. Refusals are not kept, and
what was done before one is rolled back, whether the endpoint raises it or returns it.
See https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/.

Keys are each caller's own: those of a principal or, without one, of an address (for IPv6 of its /64
network). What is kept for callers of a tenant goes with it.

`keys` are a table of the database that the endpoints write to. It is made in a module below
`app/models` (`keys = IdempotencyKeys(database)`) and needs a migration like every table.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Annotated, Any, cast
from uuid import UUID, uuid4

from fastapi import Depends, Header, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_dependant
from fastapi.params import Depends as Dependency
from fastapi.routing import APIRoute
from sqlalchemy import (
    Column,
    ColumnElement,
    CursorResult,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    Text,
    Uuid,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app.core import context
from app.core.database.base import KEPT_FOR
from app.core.database.handle import Database, after_rollback
from app.core.database.layout import DATABASES
from app.core.database.realm import current_realm
from app.core.database.types import UtcDateTime, utc_now
from app.core.errors import BadRequestError, ConflictError, ValidationFailedError
from app.core.web.client import client_network

LEASE = timedelta(minutes=1)
"""After this time a request that did not end counts as dead, and its key may be used again."""

_KEPT_LONGER = timedelta(days=1)
_FORGOTTEN_AT_ONCE = 10
_PREFIX_LENGTH = 16
"""Of 64 hexadecimal digits: what is left of the hash still tells all keys of a tenant apart."""
_SCOPE_KEY = "app.idempotency"
_OUTER_HEADERS = frozenset({"content-length", "date", "connection"})

Handler = Callable[[Request], Awaitable[Response]]
KeyHeader = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="Names this request, so that repeating it does nothing more",
    ),
]


class RequestInProgressError(ConflictError):
    """The first request with this key has not ended yet."""

    code = "request_in_progress"
    title = "Still at it"

    def __init__(self) -> None:
        super().__init__(
            "A request with this Idempotency-Key is at work: ask again in a moment",
            headers={"Retry-After": "1"},
        )


class KeyReusedError(ValidationFailedError):
    """The key was used for something else."""

    code = "idempotency_key_reused"
    title = "Idempotency key used twice"


class NotKeepableError(ValidationFailedError):
    """The answer is streamed, so it cannot be kept; nothing was done."""

    code = "idempotency_key_unsupported"
    title = "No idempotency key here"


class IdempotencyKeys:
    """The keys that callers have used, in a table of one database.

    Args:
        database: what the endpoints write to.
        name: of the table; by default it says which database it is in, when there are two.
        metadata: of the table, when it is in no migration; by default the database's.
    """

    def __init__(
        self, database: Database, *, name: str | None = None, metadata: MetaData | None = None
    ) -> None:
        section = "" if database.section == "alembic" else f"{database.section}_"
        self.database = database
        self.table = Table(
            name or f"{section}idempotency_keys",
            database.metadata if metadata is None else metadata,
            Column("id", String(64), primary_key=True),
            Column("request", String(64), nullable=False),
            Column("attempt", Uuid(), nullable=False),
            Column("expires_at", UtcDateTime(), nullable=False, index=True),
            Column("status", Integer()),
            Column("headers", Text()),
            Column("body", LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")),
            info={KEPT_FOR: self._of_tenant},
        )

    def _of_tenant(self, tenant: UUID) -> ColumnElement[bool]:
        return self.table.c.id.startswith(_realm_prefix(tenant))

    async def claim(self, identifier: str, request: str) -> "UUID | Row[Any]":
        """Begin what the key stands for, or find the answer that was given.

        Raises:
            RequestInProgressError: the first request runs.
            KeyReusedError: the key stands for another request.
        """
        attempt = uuid4()
        try:
            async with self.database.session_context() as session:
                found = await self._find(session, identifier)
                if found is not None and found.expires_at > utc_now():
                    return _answered(found, request)
                values = {"request": request, "attempt": attempt, "status": None}
                await self._write(session, identifier, found, values)
                await self._forget(session)
        except IntegrityError:  # another one was faster
            raise RequestInProgressError from None
        return attempt

    async def finish(
        self, session: AsyncSession, claim: "Claim", response: Response, lifetime: timedelta
    ) -> None:
        """Store an answer together with what the session has changed; a refusal is not kept.

        Raises:
            RequestInProgressError: this took so long that another request has begun anew.
            NotKeepableError: the answer is a stream.
            _RefusedError: the answer is a refusal, so nothing is to be stored.
        """
        if response.status_code >= 400:
            raise _RefusedError(response)
        if not hasattr(response, "body"):
            raise NotKeepableError(
                "This answer is streamed and cannot be given twice: ask without Idempotency-Key"
            )
        values = {
            "status": response.status_code,
            "headers": _dump_headers(response),
            "body": bytes(response.body),
            "expires_at": utc_now() + lifetime,
        }
        stored = await session.execute(
            update(self.table).where(*self._mine(claim)).values(**values)
        )
        if _rows(stored) != 1:
            raise RequestInProgressError

    async def release(self, claim: "Claim") -> None:
        """Let the key be used again: nothing was done."""
        async with self.database.session_context() as session:
            unfinished = self.table.c.status.is_(None)
            await session.execute(delete(self.table).where(*self._mine(claim), unfinished))

    def _mine(self, claim: "Claim") -> tuple[Any, Any]:
        return self.table.c.id == claim.identifier, self.table.c.attempt == claim.attempt

    async def _find(self, session: AsyncSession, identifier: str) -> "Row[Any] | None":
        found = await session.execute(select(self.table).where(self.table.c.id == identifier))
        return found.first()

    async def _write(
        self,
        session: AsyncSession,
        identifier: str,
        found: "Row[Any] | None",
        values: dict[str, Any],
    ) -> None:
        values["expires_at"] = utc_now() + LEASE
        if found is None:
            await session.execute(insert(self.table).values(id=identifier, **values))
            return
        columns = self.table.c
        same = columns.attempt == found.attempt, columns.expires_at == found.expires_at
        taken = await session.execute(
            update(self.table).where(columns.id == identifier, *same).values(**values)
        )
        if _rows(taken) != 1:
            raise RequestInProgressError

    async def _forget(self, session: AsyncSession) -> None:
        """Remove a few old keys: at least as many as are added."""
        columns = self.table.c
        old = (
            select(columns.id)
            .where(columns.expires_at < utc_now() - _KEPT_LONGER)
            .limit(_FORGOTTEN_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
        if identifiers := (await session.scalars(old)).all():
            await session.execute(delete(self.table).where(columns.id.in_(identifiers)))


@dataclass(frozen=True, slots=True)
class Claim:
    """The right of one request to do what a key stands for."""

    identifier: str
    attempt: UUID


class _AnsweredError(Exception):
    """What is asked for was done before."""

    def __init__(self, response: Response) -> None:
        self.response = response


class _RefusedError(Exception):
    """The endpoint has returned a refusal: what it did is undone, as after one that it raises."""

    def __init__(self, response: Response) -> None:
        self.response = response


def once(keys: IdempotencyKeys) -> type[APIRoute]:
    """Make the `route_class` of a router whose POST endpoints take an `Idempotency-Key`.

    The endpoints must write by the session of the database of the keys.
    """
    remember = _remembering(keys)

    class OnceRoute(APIRoute):
        """Does once what is asked for twice."""

        def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
            if "POST" in (options.get("methods") or ()):
                # Opened before that of the keys, since they may be locked in this order.
                sessions = _sessions_of(get_dependant(path=path, call=endpoint))
                given = options.get("dependencies") or ()
                options["dependencies"] = [*given, *sessions, Depends(remember)]
            super().__init__(path, endpoint, **options)

        def get_route_handler(self) -> Any:
            handle: Handler = super().get_route_handler()

            async def handle_once(request: Request) -> Response:
                if "idempotency-key" in request.headers:
                    await _keep_body(request)
                try:
                    response = await handle(request)
                except _AnsweredError as answered:
                    return answered.response
                # Now the answer is known, and what belongs to it not yet committed.
                if _SCOPE_KEY in request.scope:
                    claimed, session = request.scope[_SCOPE_KEY]
                    hours = request.app.state.settings.idempotency_key_hours
                    await keys.finish(session, claimed, response, timedelta(hours=hours))
                return response

            return handle_once

        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            # Here the endpoint's sessions have ended, by an exception.
            try:
                await super().handle(scope, receive, send)
            except _RefusedError as refused:
                await refused.response(scope, receive, send)

    return OnceRoute


async def _keep_body(request: Request) -> None:
    """Read the body, so that a form can be read as well as compared."""
    try:
        await request.body()
    except ClientDisconnect:
        raise BadRequestError("The body has ended too early") from None


def _sessions_of(dependant: Dependant) -> list[Dependency]:
    """The sessions of an endpoint, in the order in which it opens them: that in which they end."""
    found: list[Dependency] = []
    for each in dependant.dependencies:
        found += _sessions_of(each)
        if any(each.call == database.get_session for database in DATABASES):
            found.append(Dependency(each.call, scope=each.scope))
    return found


def _remembering(keys: IdempotencyKeys) -> Callable[..., Awaitable[None]]:
    """Make the dependency that begins what a key stands for, or finds it done."""

    async def remember(
        request: Request,
        session: Annotated[AsyncSession, Depends(keys.database.get_session, scope="function")],
        idempotency_key: KeyHeader = None,
    ) -> None:
        if idempotency_key is None:
            return
        identifier = _identify(request, idempotency_key)
        found = await keys.claim(identifier, await _fingerprint(request))
        if not isinstance(found, UUID):
            raise _AnsweredError(_load(found))
        claimed = Claim(identifier, found)
        after_rollback(session, partial(keys.release, claimed))
        request.scope[_SCOPE_KEY] = claimed, session

    return remember


def _identify(request: Request, key: str) -> str:
    """Name a caller's key for a route: nobody else finds it.

    The name begins with that of the tenant, which is how its keys are found when it is deleted.
    """
    principal = context.principal.get()
    caller = (
        [principal.provider, principal.tenant, principal.subject]
        if principal is not None
        else [client_network(request.scope)]
    )
    own = _hash(json.dumps([caller, request.method, request.url.path, key]).encode())
    return _realm_prefix(current_realm()) + own[_PREFIX_LENGTH:]


def _realm_prefix(realm: object) -> str:
    return _hash(f"realm {realm}".encode())[:_PREFIX_LENGTH]


async def _fingerprint(request: Request) -> str:
    return _hash(request.url.query.encode() + b"\n" + await request.body())


def _hash(content: bytes) -> str:
    return sha256(content).hexdigest()


def _answered(found: "Row[Any]", request: str) -> "Row[Any]":
    if found.request != request:
        raise KeyReusedError("This Idempotency-Key stands for another request: use a new one")
    if found.status is None:
        raise RequestInProgressError
    return found


def _dump_headers(response: Response) -> str:
    kept = [pair for pair in response.headers.items() if pair[0] not in _OUTER_HEADERS]
    return json.dumps(kept)


def _load(found: "Row[Any]") -> Response:
    response = Response(found.body, status_code=found.status)
    for name, value in json.loads(found.headers):
        response.headers.append(name, value)
    response.headers["Idempotent-Replayed"] = "true"
    return response


def _rows(result: Any) -> int:
    return cast("CursorResult[Any]", result).rowcount
