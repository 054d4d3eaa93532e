"""How the database attaches itself to the service."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import structlog
from fastapi import Request, Response
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.pool import AsyncAdaptedQueuePool, Pool

from app.core.database.failures import answer_to
from app.core.database.handle import Database
from app.core.database.layout import DATABASES
from app.core.database.revision import check_revision, revision_at
from app.core.errors import ConflictError, PreconditionFailedError, answer_app_exception
from app.core.piece import Check, Details, Piece

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

log = structlog.get_logger(logger_name="app.database")


@asynccontextmanager
async def _lifespan(settings: "CoreSettings") -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for database in DATABASES:
            await stack.enter_async_context(database.connected(settings))
        yield


async def _probe(database: Database, _: "CoreSettings") -> Details:
    async with database.observer.connect() as connection:
        await connection.execute(text("SELECT 1"))
    return {"pool": _pool_figures(database.engine.pool)}


async def _probe_replica(database: Database, _: "CoreSettings") -> Details:
    """Ask what those need who read from it: that it answers, and has the tables of this code."""
    replica = database.servers[-1]
    revision = await revision_at(replica, database.section)
    return {"pool": _pool_figures(replica.engine.pool), **revision}


def _checks(database: Database) -> tuple[Check, Check]:
    migrations = database.name.replace("database", "migrations")
    return (
        Check(name=database.name, probe=partial(_probe, database)),
        Check(name=migrations, probe=partial(check_revision, database)),
    )


def _checks_of_replicas(settings: "CoreSettings") -> Sequence[Check]:
    return [
        Check(name=database.replica_name, probe=partial(_probe_replica, database))
        for database in DATABASES
        if database.addresses(settings).replica
    ]


def _pool_figures(pool: Pool) -> dict[str, int]:
    if not isinstance(pool, AsyncAdaptedQueuePool):
        return {}
    return {"size": pool.size(), "in_use": pool.checkedout(), "overflow": max(pool.overflow(), 0)}


async def answer_database_error(request: Request, error: Exception) -> Response:
    """Answer what the database refused, and say unavailable when it is gone."""
    answer = answer_to(error)
    if answer is None:
        raise error
    if answer.status >= 500:
        log.warning("database unavailable", reason=type(error).__name__)
    return await answer_app_exception(request, answer)


async def answer_stale_data(request: Request, _: StaleDataError) -> Response:
    """Answer a writer whose row was changed by another one since it was read."""
    answer = (
        PreconditionFailedError("It was changed meanwhile: read it again")
        if "if-match" in request.headers
        else ConflictError("It was changed meanwhile: read it again")
    )
    return await answer_app_exception(request, answer)


piece = Piece(
    name="database",
    needs=("errors", "health"),
    lifespan=_lifespan,
    checks=tuple(check for database in DATABASES for check in _checks(database)),
    further_checks=_checks_of_replicas,
    handlers={
        DBAPIError: answer_database_error,
        PoolTimeoutError: answer_database_error,
        StaleDataError: answer_stale_data,
    },
)
