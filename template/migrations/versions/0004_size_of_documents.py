"""Size of documents: a migration of data, in three steps.

The column comes empty, so that the old code can go on writing; then its values, in batches, so
that no transaction locks the whole table; and only then the rule that there must be one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BATCH = 1000
documents = sa.table("documents", sa.column("id"), sa.column("content"), sa.column("size"))


def upgrade() -> None:
    op.add_column("documents", sa.Column("size", sa.Integer(), nullable=True))
    if not op.get_context().as_sql:
        fill_in()
    with op.batch_alter_table("documents") as table:
        table.alter_column("size", existing_type=sa.Integer(), nullable=False)


def fill_in() -> None:
    connection = op.get_bind()
    missing = sa.select(documents.c.id).where(documents.c.size.is_(None)).limit(BATCH)
    while identifiers := connection.scalars(missing).all():
        connection.execute(
            sa.update(documents)
            .where(documents.c.id.in_(identifiers))
            .values(size=sa.func.char_length(documents.c.content))
        )


def downgrade() -> None:
    with op.batch_alter_table("documents") as table:
        table.drop_column("size")
