"""A database of the service: its engine, its sessions, its tables and its migrations."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeVar

import stamina
import structlog
from anyio import CancelScope
from pydantic import SecretStr
from sqlalchemy import MetaData, TextClause, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncResult,
    AsyncSession,
    async_sessionmaker,
)
from sqlalchemy.orm import DeclarativeBase, ORMExecuteState, Session
from sqlalchemy.orm.exc import StaleDataError

from app.core.database.engine import build_engine, take_conflicts_for_outages
from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.roles.role import READING
from app.core.database.settings import ConnectionSettings, driver_url

log = structlog.get_logger(logger_name="app.database")
ResultT = TypeVar("ResultT")
Hook = Callable[[], Awaitable[None]]
Bind = AsyncEngine | AsyncConnection

_AFTER_COMMIT = "after_commit"
_AFTER_ROLLBACK = "after_rollback"
_OVER = "over"
_open: ContextVar[tuple[AsyncSession, ...]] = ContextVar("open_sessions", default=())
_NOT_STARTED = "the database is used outside of the application's lifespan"


class WriteSession(AsyncSession):
    """A session that holds nothing once it is committed, so that its end costs next to nothing."""

    async def __aexit__(self, *raised: Any) -> None:
        if self.in_transaction():
            await super().__aexit__(*raised)
        else:
            # No connection is given back, so nothing has to wait, or to be kept from cancellation.
            self.sync_session.close()


class ReadSession(AsyncSession):
    """A session that refuses to write; each SELECT stands for itself, which saves round trips.

    Once it streams, it is in a transaction where the server has cursors only there.
    """

    async def stream(self, *arguments: Any, **options: Any) -> AsyncResult[Any]:
        """Read by a cursor of the server."""
        connection = await self.connection()
        if FLAVOUR.cursor_options and _stands_alone(connection):
            await self.commit()  # of nothing: only a connection that is not in use can be changed
            await self.connection(execution_options=FLAVOUR.cursor_options)
        result: AsyncResult[Any] = await super().stream(*arguments, **options)
        return result


def _stands_alone(connection: AsyncConnection) -> bool:
    options = connection.sync_connection.get_execution_options()  # type: ignore[union-attr]
    return bool(options.get("isolation_level") == "AUTOCOMMIT")


class ServiceSession(Session):
    """The synchronous inside of every session of the service, for those who listen to them."""


class _ReadOnlySession(ServiceSession):
    """The synchronous inside of a `ReadSession`."""


_ONLY_READS = "this session only reads: use a session that writes"
_READING = ("select", "with", "values", "explain", "show")
_QUOTED = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`|--[^\n]*|/\*(?!!).*?\*/""", re.DOTALL)
_WRITING = re.compile(r"\b(?:insert|update|delete|merge|into|truncate|drop|alter|create|call)\b")


@event.listens_for(_ReadOnlySession, "before_flush")
def _refuse_to_flush(*_: object) -> None:
    raise RuntimeError(_ONLY_READS)


@event.listens_for(_ReadOnlySession, "do_orm_execute")
def _refuse_to_write(state: ORMExecuteState) -> None:
    statement = state.statement
    if state.is_insert or state.is_update or state.is_delete:
        raise RuntimeError(_ONLY_READS)
    if isinstance(statement, TextClause) and not _only_reads(str(statement)):
        raise RuntimeError(_ONLY_READS)
    if getattr(statement, "_for_update_arg", None) is not None:
        raise RuntimeError("this session only reads and can lock no row: use one that writes")


@lru_cache
def _only_reads(sql: str) -> bool:
    """Whether a text reads and has no part that writes (`WITH … DELETE`, `EXPLAIN ANALYZE …`).

    The server would know better, but asking it to refuse costs a round trip per session: the
    connections are those of the sessions that write.
    """
    words = _QUOTED.sub(" ", sql).lower()
    return words.lstrip(" \n\r\t(").startswith(_READING) and not _WRITING.search(words)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a database is: for everything, for reading only, for migrations."""

    main: SecretStr
    replica: SecretStr | None = None
    migration: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """Who answers for a database, the main one or its replica.

    Attributes:
        name: its name in health reports and figures.
        variable: the field of the settings that holds its address.
        engine: its engine.
        observer: the engine of health checks: past the pool, since a full one is no outage.
    """

    name: str
    variable: str
    engine: AsyncEngine
    observer: AsyncEngine


class Database:
    """One database, usable between start and stop of the application.

    Args:
        name: its name in health reports.
        section: its section in `alembic.ini`, which names its migrations.
        base: the declarative base of its models.
        variable: the field of the settings that holds its main address.
        replica_variable: the field that holds the address of its replica.
        addresses: finds all of its addresses in the settings.
    """

    def __init__(
        self,
        *,
        name: str,
        section: str,
        base: type[DeclarativeBase],
        variable: str,
        replica_variable: str,
        addresses: Callable[[Any], Addresses],
    ) -> None:
        self.name = name
        self.section = section
        self.base = base
        self.variable = variable
        self.replica_variable = replica_variable
        self.addresses = addresses
        self._servers: tuple[Server, ...] = ()
        self._migrator: AsyncEngine | None = None
        self._addresses: Addresses | None = None
        self._sessions: async_sessionmaker[WriteSession] | None = None
        self._read_sessions: async_sessionmaker[ReadSession] | None = None
        self._fresh_read_sessions: async_sessionmaker[ReadSession] | None = None

    # --- life ---

    @property
    def replica_name(self) -> str:
        """The name of its replica in health reports and figures."""
        return f"{self.name}_replica"

    @property
    def metadata(self) -> MetaData:
        """Its tables."""
        return self.base.metadata

    @property
    def servers(self) -> tuple[Server, ...]:
        """The main server and, where there is one, the replica.

        Raises:
            RuntimeError: the application does not run.
        """
        if not self._servers:
            raise RuntimeError(_NOT_STARTED)
        return self._servers

    @property
    def engine(self) -> AsyncEngine:
        """The engine of the main server.

        Raises:
            RuntimeError: the application does not run.
        """
        return self.servers[0].engine

    @property
    def observer(self) -> AsyncEngine:
        """The engine of the main server's health checks.

        Raises:
            RuntimeError: the application does not run.
        """
        return self.servers[0].observer

    @property
    def migrator(self) -> AsyncEngine:
        """The engine of those who change tables, at the address of migrations; it has no pool.

        Raises:
            RuntimeError: the application does not run.
        """
        if self._migrator is None:
            raise RuntimeError(_NOT_STARTED)
        return self._migrator

    @property
    def current_addresses(self) -> Addresses:
        """Where it is.

        Raises:
            RuntimeError: the application does not run.
        """
        if self._addresses is None:
            raise RuntimeError(_NOT_STARTED)
        return self._addresses

    @asynccontextmanager
    async def connected(self, settings: ConnectionSettings) -> AsyncIterator[None]:
        """Hold the engines; connections are made when they are needed."""
        addresses = self.addresses(settings)
        servers = [_serve(self.name, self.variable, addresses.main, settings)]
        if addresses.replica:
            name, variable = self.replica_name, self.replica_variable
            servers.append(_serve(name, variable, addresses.replica, settings))
            take_conflicts_for_outages(servers[-1].engine)
        migration = driver_url(addresses.migration or addresses.main)
        migrator = build_engine(migration, settings.of_migrations())
        before = vars(self).copy()
        self._addresses, self._servers, self._migrator = addresses, tuple(servers), migrator
        readers = [each.engine.execution_options(**READING) for each in servers]
        self._bind(servers[0].engine, readers[-1], readers[0])
        try:
            yield
        finally:
            vars(self).update(before)
            for server in servers:
                await server.engine.dispose()
                await server.observer.dispose()
            await migrator.dispose()

    @contextmanager
    def bound_to(self, connection: AsyncConnection) -> Iterator[None]:
        """Run every session in savepoints of one connection: for tests, which roll it back."""
        before = self._sessions, self._read_sessions, self._fresh_read_sessions
        self._bind(connection, connection, connection)
        try:
            yield
        finally:
            self._sessions, self._read_sessions, self._fresh_read_sessions = before

    def _bind(self, writing: Bind, reading: Bind, reading_fresh: Bind) -> None:
        self._sessions = async_sessionmaker(
            writing,
            class_=WriteSession,
            sync_session_class=ServiceSession,
            expire_on_commit=False,
            join_transaction_mode="create_savepoint",
        )
        self._read_sessions, self._fresh_read_sessions = (
            async_sessionmaker(
                each,
                class_=ReadSession,
                sync_session_class=_ReadOnlySession,
                expire_on_commit=False,
                join_transaction_mode="create_savepoint",
            )
            for each in (reading, reading_fresh)
        )

    # --- sessions ---

    async def get_session(self) -> AsyncIterator[AsyncSession]:
        """The session of a request: a dependency.

        Commits at the end, before the answer is sent; rolls back when anything is raised.
        """
        if self._sessions is None:
            raise RuntimeError(_NOT_STARTED)
        session, hooks = self._sessions(), _AFTER_ROLLBACK
        try:
            async with session:
                with _open_here(session):
                    yield session
                    await session.commit()
                    hooks = _AFTER_COMMIT
        finally:
            await _run_hooks(session, hooks)

    async def get_read_session(self) -> AsyncIterator[ReadSession]:
        """The session of a request that only reads: a dependency.

        The replica answers where there is one, and may be behind.
        """
        async with self._new_read_session(fresh=False) as session:
            yield session

    session_context = asynccontextmanager(get_session)
    """A session outside of requests: `async with database.session_context() as session`."""

    @asynccontextmanager
    async def read_session_context(self, *, fresh: bool = False) -> AsyncIterator[ReadSession]:
        """A session that only reads, outside of requests.

        Args:
            fresh: whether to ask the main database also where there is a replica, which may be
                behind: for whatever decides who somebody is, or what they may do.
        """
        async with self._new_read_session(fresh=fresh) as session:
            yield session

    def _new_read_session(self, *, fresh: bool) -> ReadSession:
        sessions = self._fresh_read_sessions if fresh else self._read_sessions
        if sessions is None:
            raise RuntimeError(_NOT_STARTED)
        return sessions()

    async def in_transaction(
        self, work: Callable[[AsyncSession], Awaitable[ResultT]], *, attempts: int = 3
    ) -> ResultT:
        """Do a piece of work in its own transaction; again, when it loses against another one.

        Args:
            work: called with a new session each time, so it must do all of its reading itself.
            attempts: how often it is tried.

        Raises:
            DBAPIError: it lost every time.
            StaleDataError: somebody else changed the same row every time.
        """
        async for attempt in stamina.retry_context(
            on=is_conflict, attempts=attempts, wait_initial=0.02, wait_max=0.5
        ):
            with attempt:
                async with self.session_context() as session:
                    return await work(session)
        raise AssertionError("stamina raises when it gives up")


def _serve(name: str, variable: str, address: SecretStr, settings: ConnectionSettings) -> Server:
    alone = settings.model_copy(update={"db_use_null_pool": True})
    engine, observer = (
        build_engine(driver_url(address), each, variable) for each in (settings, alone)
    )
    return Server(name, variable, engine, observer.execution_options(isolation_level="AUTOCOMMIT"))


def is_conflict(error: Exception) -> bool:
    """Whether a transaction lost against another one, and may win when it is tried again."""
    lost = isinstance(error, DBAPIError) and FLAVOUR.lost_conflict(error)
    return lost or isinstance(error, StaleDataError)


def after_commit(session: AsyncSession, hook: Hook) -> None:
    """Do something once this session's changes are committed, and not at all if they never are.

    For what others must not see too early, such as messages. A hook that fails is logged: the
    changes are stored by then, so nothing is undone and the caller is not told. Whoever is
    cancelled meanwhile, as by a time limit, ends once all hooks have.
    """
    session.info.setdefault(_AFTER_COMMIT, []).append(hook)


def after_rollback(session: AsyncSession, hook: Hook) -> None:
    """Do something once this session's changes are rolled back, and not at all if they are kept.

    For what was done elsewhere and must be undone. As after a commit, a hook that fails is logged.
    """
    session.info.setdefault(_AFTER_ROLLBACK, []).append(hook)


async def when_committed(hook: Hook) -> None:
    """Do something once all sessions are committed that are open here; at once when none is.

    For code that has no session at hand. What is asked for in a session that is rolled back is
    never done.
    """
    session = next((each for each in reversed(_open.get()) if _OVER not in each.info), None)
    if session is None:
        await hook()
    else:
        after_commit(session, partial(when_committed, hook))


@contextmanager
def _open_here(session: AsyncSession) -> Iterator[None]:
    before = _open.get()
    _open.set((*before, session))
    try:
        yield
    finally:
        # Tasks that were started meanwhile have a copy of the list, so the session says it too.
        session.info[_OVER] = True
        _open.set(before)


async def _run_hooks(session: AsyncSession, when: str) -> None:
    """Do what waits for the end of the transaction, to its own end: nobody else would."""
    if not (hooks := session.info.pop(when, ())):
        return
    running, cancelled = asyncio.create_task(_run_all(hooks)), None
    with CancelScope(shield=True):
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled
    running.result()


async def _run_all(hooks: Iterable[Hook]) -> None:
    for hook in hooks:
        try:
            await hook()
        except Exception:
            log.exception("a hook after the transaction failed")
