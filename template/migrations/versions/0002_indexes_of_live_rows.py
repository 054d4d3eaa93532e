"""Indexes of live rows."""

import sqlalchemy as sa
from alembic import op

from app.core.database.danger import accept

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LIVE = sa.text("deleted_at IS NULL")


def upgrade() -> None:
    # Nothing is stored yet. On a large table, PostgreSQL builds an index without holding up
    # writers: `with op.get_context().autocommit_block():` and `postgresql_concurrently=True`.
    accept("require-concurrent-index-creation")
    op.create_index(
        "ix_projects_name_live", "projects", ["name"], postgresql_where=LIVE, sqlite_where=LIVE
    )
    accept("require-concurrent-index-creation")
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
