"""The third net on PostgreSQL: row-level security, which confines any statement."""

import uuid

from sqlalchemy import Connection, text
from sqlalchemy.orm import ORMExecuteState

from app.core.database.base import OWNED
from app.core.database.handle import Database
from app.core.database.layout import DATABASES
from app.core.database.row_security import confined_tables, set_scope
from app.core.errors import ServiceUnavailableError
from app.core.piece import Details
from app.core.tenancy.scope import ACROSS, DIRECTORY, Scope

_ROLE = text(
    "SELECT rolname AS name, rolsuper OR rolbypassrls AS bypasses"
    " FROM pg_roles WHERE rolname = current_user"
)
# Whoever is a member of the owner may become it.
_OWNED_BY_ROLE = text(
    "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')"
    " AND relnamespace = 'public'::regnamespace AND pg_has_role(current_user, relowner, 'MEMBER')"
)


def tell_database(connection: Connection, scope: Scope) -> None:
    """Set the tenant for the rest of the transaction."""
    tenant = str(scope) if isinstance(scope, uuid.UUID) else ""
    set_scope(connection, tenant, across=scope in {ACROSS, DIRECTORY})


def refuse_unconfined(_state: ORMExecuteState) -> None:
    """Refuse nothing: the database confines every statement."""


async def check_database(*, at_start: bool) -> Details:
    """Look whether row-level security really confines this service.

    Args:
        at_start: a database that does not answer, or is not migrated yet, is no reason to end.

    Raises:
        SystemExit: at the start, when the role of the service is not confined by it.
        RuntimeError: later, also when a table is not confined.
    """
    for database, server in ((each, server) for each in DATABASES for server in each.servers):
        try:
            async with server.observer.connect() as connection:
                role = (await connection.execute(_ROLE)).one()
                owned = set(await connection.scalars(_OWNED_BY_ROLE))
                confined = await connection.run_sync(confined_tables)
        except ServiceUnavailableError:
            if at_start:
                continue
            raise
        names = {table.name for table in database.metadata.tables.values() if OWNED in table.info}
        if role.bypasses or owned & names:
            _refuse(database, server.variable, role.name, at_start=at_start)
        if not at_start and (missing := names - confined):
            raise RuntimeError(f"not confined by row-level security: {', '.join(sorted(missing))}")
    return {"confined_by": "row-level security"}


def _refuse(database: Database, variable: str, role: str, *, at_start: bool) -> None:
    main = database.variable.upper()
    mend = (
        f"name the owner in MIGRATION_{main}, and another role here, which the migrations make and"
        " give its rights"
        if variable == database.variable
        else f"name the role of {main} here, too"
    )
    message = (
        f"configuration: {variable.upper()} must name a role that neither owns the tables nor"
        f" bypasses row-level security, and '{role}' does: {mend}"
    )
    raise SystemExit(message) if at_start else RuntimeError(message)
