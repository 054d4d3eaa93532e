"""The engine and its pool, made from the settings."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Dialect, ExceptionContext, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from app.core.database.address import PresentAddress
from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.settings import ConnectionSettings
from app.core.errors import ServiceUnavailableError

Connect = Callable[[Dialect, Any, Any], Any]


def build_engine(
    url: URL, settings: ConnectionSettings, variable: str | None = None
) -> AsyncEngine:
    """Make an engine; it connects at its first use, so a service starts without its database.

    Args:
        url: where the database is.
        settings: pool and time limits.
        variable: the setting that the address came from; new connections follow its changes.
    """
    options = FLAVOUR.engine_options(settings)
    if settings.db_use_null_pool:
        options |= {"poolclass": NullPool, "pool_pre_ping": False}
    else:
        options |= {
            "pool_size": settings.db_pool_size,
            "max_overflow": settings.db_max_overflow,
            "pool_timeout": settings.db_pool_timeout,
            "pool_recycle": settings.db_pool_recycle,
        }
    engine = create_async_engine(url, hide_parameters=True, **options)
    FLAVOUR.prepare(engine)
    _connect_by(engine, _follow(PresentAddress(url, variable)) if variable else _connect)
    _give_up_silent_connections(engine)
    return engine


def _connect_by(engine: AsyncEngine, connect: Connect) -> None:
    """Drivers fail to connect in many ways (OSError, TimeoutError, their own); make it one."""

    @event.listens_for(engine.sync_engine, "do_connect")
    def connect_or_say_so(dialect: Dialect, _record: Any, arguments: Any, options: Any) -> Any:
        try:
            return connect(dialect, arguments, options)
        except Exception as error:
            raise ServiceUnavailableError("The database does not answer") from error


def _connect(dialect: Dialect, arguments: Any, options: Any) -> Any:
    return dialect.connect(*arguments, **options)


def _follow(address: PresentAddress) -> Connect:
    """Connect to where the database is now, also while its password is being changed."""

    def connect_to(url: URL, dialect: Dialect, arguments: Any, options: Any) -> Any:
        if url != address.first:
            arguments, own = dialect.create_connect_args(url)
            options = {**options, **own}
        return _connect(dialect, arguments, options)

    def connect(dialect: Dialect, arguments: Any, options: Any) -> Any:
        try:
            return connect_to(address.newest(), dialect, arguments, options)
        except Exception as error:
            if not FLAVOUR.refused_login(error):
                raise
            for url in address.others():
                with _refused_login_passes():
                    return connect_to(url, dialect, arguments, options)
            raise

    return connect


@contextmanager
def _refused_login_passes() -> Iterator[None]:
    """Go on when the server does not accept the login."""
    try:
        yield
    except Exception as error:
        if not FLAVOUR.refused_login(error):
            raise


def _give_up_silent_connections(engine: AsyncEngine) -> None:
    """A driver that waited in vain raises a TimeoutError that SQLAlchemy does not know."""

    @event.listens_for(engine.sync_engine, "handle_error")
    def give_up(context: ExceptionContext) -> None:
        if isinstance(context.original_exception, TimeoutError):
            context.is_disconnect = True
            raise ServiceUnavailableError("The database does not answer")


def take_conflicts_for_outages(engine: AsyncEngine) -> None:
    """Say that a replica does not answer where it ends what is read, and calls that a conflict.

    It does so to whoever holds up what comes from the main database: nobody has changed the same.
    """

    @event.listens_for(engine.sync_engine, "handle_error")
    def say_so(context: ExceptionContext) -> None:
        error = context.sqlalchemy_exception
        if isinstance(error, DBAPIError) and FLAVOUR.lost_conflict(error):
            raise ServiceUnavailableError("The database does not answer") from error
