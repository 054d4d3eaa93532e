"""Size of documents.

The column comes with a default, which costs no time and lets the code of the version before go on
writing while both run. Its values are a migration of their own: this one holds the table's lock.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    size = sa.Column("size", sa.Integer(), server_default=sa.text("0"), nullable=False)
    op.add_column("documents", size)


def downgrade() -> None:
    with op.batch_alter_table("documents") as table:
        table.drop_column("size")
