"""Jobs that are to be sent, and those that were done."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "user_0005"
down_revision = "user_0004"
branch_labels = None
depends_on = None

OUTBOX = "user_job_outbox"
HANDLED = "user_handled_jobs"

moment = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
content = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        OUTBOX,
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("due_at", moment, nullable=False),
        sa.Column("message", content, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{OUTBOX}")),
    )
    op.create_index(op.f(f"ix_{OUTBOX}_due_at"), OUTBOX, ["due_at"])
    op.create_table(
        HANDLED,
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("handled_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{HANDLED}")),
    )
    op.create_index(op.f(f"ix_{HANDLED}_handled_at"), HANDLED, ["handled_at"])


def downgrade() -> None:
    op.drop_index(op.f(f"ix_{HANDLED}_handled_at"), table_name=HANDLED)
    op.drop_table(HANDLED)
    op.drop_index(op.f(f"ix_{OUTBOX}_due_at"), table_name=OUTBOX)
    op.drop_table(OUTBOX)
