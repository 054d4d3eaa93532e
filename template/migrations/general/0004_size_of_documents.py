"""Size of documents: a migration of data.

The column comes with a default, which costs no time and lets the code of the version before go on
writing while both run. Then its values, in batches, so that none locks many rows for long.
"""

import sqlalchemy as sa
from alembic import op

revision = "general_0004"
down_revision = "general_0003"
branch_labels = None
depends_on = None

BATCH = 1000
documents = sa.table("documents", sa.column("id"), sa.column("content"), sa.column("size"))


def upgrade() -> None:
    size = sa.Column("size", sa.Integer(), server_default=sa.text("0"), nullable=False)
    op.add_column("documents", size)
    if not op.get_context().as_sql:
        fill_in()


def fill_in() -> None:
    connection = op.get_bind()
    missing = sa.select(documents.c.id).where(documents.c.size == 0, documents.c.content != "")
    while identifiers := connection.scalars(missing.limit(BATCH)).all():
        connection.execute(
            sa.update(documents)
            .where(documents.c.id.in_(identifiers))
            .values(size=sa.func.char_length(documents.c.content))
        )


def downgrade() -> None:
    with op.batch_alter_table("documents") as table:
        table.drop_column("size")
