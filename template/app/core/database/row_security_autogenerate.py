"""Row-level security in new migrations, as `make migrate m="…"` writes them."""

from collections.abc import Iterable

from alembic.autogenerate import comparators, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import MigrateOperation, UpgradeOps

from app.core.database.base import OWNED
from app.core.database.row_security import confined_tables
from app.core.database.row_security_migrations import disable_row_security, enable_row_security


class EnableRowSecurity(MigrateOperation):
    """A table is to be confined."""

    def __init__(self, table: str, column: str) -> None:
        self.table = table
        self.column = column

    def reverse(self) -> MigrateOperation:
        """Give what the downgrade does."""
        return DisableRowSecurity(self.table)


class DisableRowSecurity(MigrateOperation):
    """A table is no longer to be confined."""

    def __init__(self, table: str) -> None:
        self.table = table

    def reverse(self) -> MigrateOperation:
        """Give what the upgrade did."""
        raise NotImplementedError


@comparators.dispatch_for("schema")
def _find_unconfined_tables(
    context: AutogenContext, upgrade: UpgradeOps, _schemas: Iterable[str | None]
) -> None:
    connection, metadata = context.connection, context.metadata
    if connection is None or metadata is None:
        return
    confined = confined_tables(connection)
    for table in metadata.sorted_tables:  # type: ignore[union-attr]
        if OWNED in table.info and table.name not in confined:
            upgrade.ops.append(EnableRowSecurity(table.name, table.info[OWNED]))


@renderers.dispatch_for(EnableRowSecurity)
def _render_enable(context: AutogenContext, operation: EnableRowSecurity) -> str:
    context.imports.add(f"from {enable_row_security.__module__} import enable_row_security")
    column = "" if operation.column == "tenant_id" else f', "{operation.column}"'
    return f'enable_row_security("{operation.table}"{column})'


@renderers.dispatch_for(DisableRowSecurity)
def _render_disable(context: AutogenContext, operation: DisableRowSecurity) -> str:
    context.imports.add(f"from {disable_row_security.__module__} import disable_row_security")
    return f'disable_row_security("{operation.table}")'
