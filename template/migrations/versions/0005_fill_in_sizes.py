"""Fill in the sizes of documents: a migration of data.

In batches, and it may be run again: only rows without a size are touched. On a table of millions,
put the loop into `with op.get_context().autocommit_block():`, so that no batch waits for the last.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BATCH = 1000
documents = sa.table("documents", sa.column("id"), sa.column("content"), sa.column("size"))


def upgrade() -> None:
    if op.get_context().as_sql:
        return
    connection = op.get_bind()
    missing = sa.select(documents.c.id).where(documents.c.size == 0, documents.c.content != "")
    while identifiers := connection.scalars(missing.limit(BATCH)).all():
        connection.execute(
            sa.update(documents)
            .where(documents.c.id.in_(identifiers))
            .values(size=sa.func.char_length(documents.c.content))
        )


def downgrade() -> None:
    pass
