"""The engine and its pool, made from the settings."""

from typing import Any

from sqlalchemy import URL, Dialect, ExceptionContext, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.settings import ConnectionSettings
from app.core.errors import ServiceUnavailableError


def build_engine(url: URL, settings: ConnectionSettings) -> AsyncEngine:
    """Make an engine; it connects at its first use, so a service starts without its database."""
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
    engine = create_async_engine(url, echo=settings.debug, hide_parameters=True, **options)
    FLAVOUR.prepare(engine)
    _name_failed_connections(engine)
    _give_up_silent_connections(engine)
    return engine


def _name_failed_connections(engine: AsyncEngine) -> None:
    """Drivers fail to connect in many ways (OSError, TimeoutError, their own); make it one."""

    @event.listens_for(engine.sync_engine, "do_connect")
    def connect(dialect: Dialect, _record: Any, arguments: Any, options: Any) -> Any:
        try:
            return dialect.connect(*arguments, **options)
        except Exception as error:
            raise ServiceUnavailableError("The database does not answer") from error


def _give_up_silent_connections(engine: AsyncEngine) -> None:
    """A driver that waited in vain raises a TimeoutError that SQLAlchemy does not know."""

    @event.listens_for(engine.sync_engine, "handle_error")
    def give_up(context: ExceptionContext) -> None:
        if isinstance(context.original_exception, TimeoutError):
            context.is_disconnect = True
            raise ServiceUnavailableError("The database does not answer")
