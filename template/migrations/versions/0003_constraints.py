"""Constraints."""

from alembic import op

from app.core.database.danger import accept

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Nothing is stored yet. On a large table, PostgreSQL first adds a constraint `NOT VALID` and
    # validates it in a migration of its own.
    accept("constraint-missing-not-valid")
    with op.batch_alter_table("projects") as table:
        table.create_check_constraint(op.f("ck_projects_name_not_empty"), "name <> ''")
    accept("constraint-missing-not-valid")
    with op.batch_alter_table("documents") as table:
        table.create_check_constraint(op.f("ck_documents_title_not_empty"), "title <> ''")


def downgrade() -> None:
    with op.batch_alter_table("documents") as table:
        table.drop_constraint(op.f("ck_documents_title_not_empty"), type_="check")
    with op.batch_alter_table("projects") as table:
        table.drop_constraint(op.f("ck_projects_name_not_empty"), type_="check")
