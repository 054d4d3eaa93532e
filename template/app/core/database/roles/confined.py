"""The service's role owns nothing: another one migrates, and gives it its rights.

Row-level security confines neither the owner of a table, unless forced, nor a role that may bypass
it. So the service connects as a role of its own (`DATABASE_URL`), and only migrations run as the
owner (`MIGRATION_DATABASE_URL`).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, make_url, text

from app.core.database.row_security_migrations import ACROSS_SETTING
from app.core.database.settings import driver_url

if TYPE_CHECKING:
    from app.core.database.handle import Addresses

READING: Mapping[str, Any] = {"postgresql_readonly": True}
"""How read sessions execute: the tenant holds for a transaction, so there must be one."""

SEES_ALL_ROWS: Mapping[str, str] = {ACROSS_SETTING: "on"}
"""Parameters with which a session of the migrating role sees the rows of all tenants."""

DEVELOPMENT_ROLE = "service"
DEVELOPMENT_PASSWORD = "development"  # noqa: S105 - refused in production

_IS_FREE = text("SELECT NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = :role)")
_HAND_OVER = text(
    "SELECT set_config('app.role', :role, true), set_config('app.password', :password, true)"
)
# Roles are the server's, and several of its databases may be migrated at once.
_MAKE_ROLE = text(
    """
    DO $do$
    BEGIN
        EXECUTE format(
            'CREATE ROLE %I LOGIN PASSWORD %L NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE',
            current_setting('app.role'), current_setting('app.password')
        );
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;
    END $do$
    """
)


def before_migrations() -> list[str]:
    """Statements that a migrator begins with: the owner, too, sees rows only in a scope."""
    # Teaches Alembic's autogenerate; requests never need it, and Alembic is slow to import.
    from app.core.database import row_security_autogenerate  # noqa: F401, PLC0415

    return [f"SET {name} = '{value}'" for name, value in SEES_ALL_ROWS.items()]


def after_migrations(connection: Connection, addresses: "Addresses", *only_read: str) -> None:
    """Let the service's role read and write every table, and make the role if there is none.

    Args:
        connection: of the migrating role.
        addresses: of the database; the main one names the service's role.
        only_read: tables that the service's role may only read.

    Raises:
        SystemExit: the role does not exist, and the migrating one may not make it.
    """
    service = driver_url(addresses.main)
    role = service.username
    if role is None or role == connection.scalar(text("SELECT current_user")):
        return  # the check at the start says what is wrong with that
    if connection.scalar(_IS_FREE, {"role": role}):
        _make_role(connection, role, str(service.password or ""))
    quote = connection.dialect.identifier_preparer.quote_identifier
    name = quote(role)
    for statement in (
        f"GRANT USAGE ON SCHEMA public TO {name}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}",
        f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {name}",
    ):
        connection.execute(text(statement))
    for table in map(quote, only_read):
        if connection.scalar(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": table}):
            connection.execute(text(f"REVOKE INSERT, UPDATE, DELETE ON {table} FROM {name}"))
    connection.commit()


def _make_role(connection: Connection, role: str, password: str) -> None:
    may = text("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")
    if not connection.scalar(may):
        raise SystemExit(
            f"migrations: the role {role} of the service does not exist; as an administrator:"
            f" CREATE ROLE \"{role}\" LOGIN PASSWORD '…'"
        )
    # Handed over as values, so that nothing in them is taken for SQL.
    connection.execute(_HAND_OVER, {"role": role, "password": password})
    connection.execute(_MAKE_ROLE)


def development_addresses(variable: str, address: str) -> dict[str, str]:
    """The settings of a database that was made for development or tests."""
    confined = make_url(address).set(username=DEVELOPMENT_ROLE, password=DEVELOPMENT_PASSWORD)
    return {
        variable: confined.render_as_string(hide_password=False),
        f"migration_{variable}": address,
    }
