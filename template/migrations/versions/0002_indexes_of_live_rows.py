"""Indexes of live rows."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LIVE = sa.text("deleted_at IS NULL")


def upgrade() -> None:
    # Both tables are new. On a large one, PostgreSQL builds an index without holding up writers:
    # `with op.get_context().autocommit_block():` and `postgresql_concurrently=True`.
    op.create_index(
        "ix_projects_name_live", "projects", ["name"], postgresql_where=LIVE, sqlite_where=LIVE
    )
    op.create_index(
        "ix_documents_project_id_live",
        "documents",
        ["project_id", "id"],
        postgresql_where=LIVE,
        sqlite_where=LIVE,
    )


def downgrade() -> None:
    op.drop_index("ix_documents_project_id_live", table_name="documents")
    op.drop_index("ix_projects_name_live", table_name="projects")
