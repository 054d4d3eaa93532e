"""The connections to the databases."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy.pool import AsyncAdaptedQueuePool

from app.core.database.layout import DATABASES
from app.core.metrics.sources.base import Look

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


@contextmanager
def source(settings: "CoreSettings", registry: CollectorRegistry) -> Iterator[Look]:
    """Measure pools; see `Source`. Where none is kept (`DB_USE_NULL_POOL`) there is no series."""
    connections = Gauge(
        "database_pool_connections",
        "Connections to a database that are open",
        ("database", "state"),
        registry=registry,
        multiprocess_mode="livesum",
    )
    limit = Gauge(
        "database_pool_limit",
        "Connections to a database that may be open",
        ["database"],
        registry=registry,
        multiprocess_mode="livesum",
    )
    use = Gauge(
        "database_pool_use_ratio",
        "Share of the connections that is in use, in the process that has the fewest left",
        ["database"],
        registry=registry,
        multiprocess_mode="livemax",
    )

    def look() -> None:
        for server in (each for database in DATABASES for each in database.servers):
            pool = server.engine.pool
            if isinstance(pool, AsyncAdaptedQueuePool):
                connections.labels(server.name, "in_use").set(pool.checkedout())
                connections.labels(server.name, "idle").set(pool.checkedin())
                most = pool.size() + settings.db_max_overflow
                limit.labels(server.name).set(most)
                if most > 0:
                    use.labels(server.name).set(pool.checkedout() / most)

    yield look
