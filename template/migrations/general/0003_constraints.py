"""Constraints."""

from alembic import op

revision = "general_0003"
down_revision = "general_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("documents") as table:
        table.create_check_constraint(op.f("ck_documents_title_not_empty"), "title <> ''")


def downgrade() -> None:
    with op.batch_alter_table("documents") as table:
        table.drop_constraint(op.f("ck_documents_title_not_empty"), type_="check")
