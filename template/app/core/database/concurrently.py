"""What PostgreSQL does beside those who write, in a migration.

    with concurrently():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_widgets_name")
        op.create_index("ix_widgets_name", "widgets", ["name"], postgresql_concurrently=True)

The first statement takes away what an attempt that failed has left: an index that nothing uses.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import op

from app.core.database.flavours import postgresql


@contextmanager
def concurrently() -> Iterator[None]:
    """Run statements outside of a transaction, which may wait for those of others to end.

    Nobody queues behind them, so they wait as long as one statement may take
    (`DB_MIGRATION_STATEMENT_TIMEOUT`).
    """
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        yield
        op.execute(postgresql.LOCK_LIMIT)
