"""Row-level security: the database itself shows a tenant's rows to that tenant only.

Two settings of the transaction say whose rows are meant: the tenant's id, or that it is work across
tenants. Neither is set in a new transaction, so whoever forgets sees nothing.
"""

from sqlalchemy import Connection, text

from app.core.database.row_security_migrations import ACROSS_SETTING, POLICY, TENANT_SETTING

_SET = text(
    f"SELECT set_config('{TENANT_SETTING}', :tenant, true),"
    f" set_config('{ACROSS_SETTING}', :across, true)"
)


def set_scope(connection: Connection, tenant: str, *, across: bool) -> None:
    """Say for the rest of the transaction whose rows are meant; an empty tenant is nobody."""
    connection.execute(_SET, {"tenant": tenant, "across": "on" if across else "off"})


_CONFINED = text(
    "SELECT relname FROM pg_class JOIN pg_policy ON polrelid = pg_class.oid AND polname = :policy"
    " WHERE relrowsecurity AND relforcerowsecurity AND relnamespace = 'public'::regnamespace"
)


def confined_tables(connection: Connection) -> set[str]:
    """The tables that the database confines."""
    return set(connection.scalars(_CONFINED, {"policy": POLICY}))
