"""Indexes of live rows."""

import sqlalchemy as sa
from alembic import op

revision = "general_0002"
down_revision = "general_0001"
branch_labels = None
depends_on = None

LIVE = sa.text("deleted_at IS NULL")


def upgrade() -> None:
    op.create_index(
        "ix_documents_project_id_live",
        "documents",
        ["project_id", "id"],
        postgresql_where=LIVE,
        sqlite_where=LIVE,
    )


def downgrade() -> None:
    op.drop_index("ix_documents_project_id_live", table_name="documents")
