"""What a migration does although it may hold up a running service."""

from alembic import op


def accept(rule: str) -> None:
    """Say that the next statement is meant, in spite of a rule of Squawk (see `make lint`).

    Give the reason in a comment: the table is new, or small, or the service is stopped.
    """
    context = op.get_context()
    if context.as_sql and context.impl.output_buffer is not None:
        # Not by `static_output`: its blank line would part the remark from the statement.
        context.impl.output_buffer.write(f"-- squawk-ignore {rule}\n")
