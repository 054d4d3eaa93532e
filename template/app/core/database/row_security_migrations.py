"""Row-level security in migrations. Every service has it: they outlive the answers that need it."""

TENANT_SETTING = "app.tenant_id"
ACROSS_SETTING = "app.across_tenants"
POLICY = "tenant_isolation"


def enable_row_security(table: str, column: str = "tenant_id") -> None:
    """Confine a table, in a migration; its owner too is confined (FORCE)."""
    mine = f"{column} = NULLIF(current_setting('{TENANT_SETTING}', true), '')::uuid"
    across = f"current_setting('{ACROSS_SETTING}', true) = 'on'"
    _execute(
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY {POLICY} ON {table} USING ({mine} OR {across})",
    )


def disable_row_security(table: str) -> None:
    """Take back what `enable_row_security` did, in a migration."""
    _execute(
        f"DROP POLICY IF EXISTS {POLICY} ON {table}",
        f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
    )


def _execute(*statements: str) -> None:
    """Do what PostgreSQL alone can; with another database the same migration leaves it out."""
    # Requests need the names above only, and Alembic is slow to import.
    from alembic import op  # noqa: PLC0415

    if op.get_context().dialect.name == "postgresql":
        for statement in statements:
            op.execute(statement)
