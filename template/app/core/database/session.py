"""Sessions: one transaction from the start of an endpoint to just before its answer.

Never call `commit` yourself: the dependency commits when the endpoint returns, *before* the
answer is sent, so a client that reads a 2xx can rely on it. `flush` when an id is needed.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated

import structlog
from fastapi import Depends
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session

from app.core.database.base import Base
from app.core.database.engine import build_engine
from app.core.database.settings import DatabaseSettings
from app.core.discovery import import_submodules

log = structlog.get_logger(logger_name="app.database")


class ReadSession(AsyncSession):
    """A session that cannot write; each SELECT stands for itself, which saves round trips."""


class _ReadOnlySession(Session):
    """The synchronous inside of a `ReadSession`."""


@event.listens_for(_ReadOnlySession, "before_flush")
def _refuse_to_write(*_: object) -> None:
    raise RuntimeError("this session only reads: use SessionDep or get_session_context() to write")


class Database:
    """A database of this service, usable between start and stop of the application."""

    def __init__(self) -> None:
        self._engine: AsyncEngine | None = None
        self._sessions: async_sessionmaker[AsyncSession] | None = None
        self._read_sessions: async_sessionmaker[ReadSession] | None = None

    @property
    def engine(self) -> AsyncEngine:
        """The engine.

        Raises:
            RuntimeError: the application does not run.
        """
        if self._engine is None:
            raise RuntimeError("the database is used outside of the application's lifespan")
        return self._engine

    def reading(self) -> AsyncEngine:
        """The engine for looking only: without a transaction, so it holds up nobody."""
        return self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def connected(self, settings: DatabaseSettings) -> AsyncIterator[None]:
        """Hold the engines; connections are made when they are needed."""
        engine = build_engine(settings.async_database_url, settings)
        replica = settings.async_replica_url
        reader = build_engine(replica, settings) if replica else engine
        before = self._engine, self._sessions, self._read_sessions
        self._engine = engine
        self._bind(engine, reader.execution_options(isolation_level="AUTOCOMMIT"))
        try:
            yield
        finally:
            self._engine, self._sessions, self._read_sessions = before
            await engine.dispose()
            await reader.dispose()

    @contextmanager
    def bound_to(self, connection: AsyncConnection) -> Iterator[None]:
        """Run every session in savepoints of one connection: for tests, which roll it back."""
        before = self._sessions, self._read_sessions
        self._bind(connection, connection)
        try:
            yield
        finally:
            self._sessions, self._read_sessions = before

    def session(self) -> AsyncSession:
        """Open a session that writes."""
        if self._sessions is None:
            raise RuntimeError("the database is used outside of the application's lifespan")
        return self._sessions()

    def read_session(self) -> ReadSession:
        """Open a session that only reads."""
        if self._read_sessions is None:
            raise RuntimeError("the database is used outside of the application's lifespan")
        return self._read_sessions()

    def _bind(
        self, writing: AsyncEngine | AsyncConnection, reading: AsyncEngine | AsyncConnection
    ) -> None:
        self._sessions = async_sessionmaker(
            writing, expire_on_commit=False, join_transaction_mode="create_savepoint"
        )
        self._read_sessions = async_sessionmaker(
            reading,
            class_=ReadSession,
            sync_session_class=_ReadOnlySession,
            expire_on_commit=False,
            join_transaction_mode="create_savepoint",
        )


database = Database()


Hook = Callable[[], Awaitable[None]]
_HOOKS = "after_commit"


def after_commit(session: AsyncSession, hook: Hook) -> None:
    """Do something once this session's changes are committed, and not at all if they never are.

    For what others must not see too early, such as messages. A hook that fails is logged: the
    changes are stored by then, so nothing is undone and the caller is not told.
    """
    session.info.setdefault(_HOOKS, []).append(hook)


async def _run_hooks(session: AsyncSession) -> None:
    for hook in session.info.pop(_HOOKS, ()):
        try:
            await hook()
        except Exception:
            log.exception("a hook after the commit failed")


@asynccontextmanager
async def get_session_context() -> AsyncIterator[AsyncSession]:
    """A session outside of requests: commits at the end, rolls back when anything is raised."""
    async with database.session() as session:
        yield session
        await session.commit()
    await _run_hooks(session)


@asynccontextmanager
async def get_read_session_context() -> AsyncIterator[ReadSession]:
    """A session that only reads, outside of requests."""
    async with database.read_session() as session:
        yield session


async def init_db() -> None:
    """Make the tables of all models without migrations: for demonstrations and experiments."""
    import_submodules("app.models")
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)


async def get_session() -> AsyncIterator[AsyncSession]:
    """The session of a request, see the top of this module."""
    async with get_session_context() as session:
        yield session


async def get_read_session() -> AsyncIterator[ReadSession]:
    """The session of a request that only reads."""
    async with get_read_session_context() as session:
        yield session


# "function": ends before the answer is sent. FastAPI's default ends after it.
SessionDep = Annotated[AsyncSession, Depends(get_session, scope="function")]
ReadSessionDep = Annotated[ReadSession, Depends(get_read_session, scope="function")]
