"""Jobs that are not lost, and jobs that are done once, by tables beside what they are about.

`await outbox.add(session, greet, "Ada")` stores the job in the transaction of what it follows from:
either both are there or none. It is sent after the commit, and whatever was not sent by then, since
the process or the queue died, is sent by the relay. So a job may be sent twice; its id is stored in
the transaction of its effect (`handled_jobs`), and the second one does nothing. One that fails all
its attempts goes on, unless its task wants none (`Retries(times=0)`).

`outbox` is made in a module below `app/models` (`outbox = Outbox(database)`); its two tables need a
migration like every table. With two databases each needs its own: the job is stored beside the rows
that it follows from, its id beside those that it changes.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ParamSpec

import structlog
from sqlalchemy import Column, MetaData, String, Table, Text, delete, insert, select, update
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.handle import Database, after_commit
from app.core.database.types import UtcDateTime, utc_now
from app.core.jobs.backends.base import Queue
from app.core.jobs.message import LONGEST_ID, Message
from app.core.jobs.port import Job, compose, current_queue, send
from app.core.jobs.task import Task

P = ParamSpec("P")
log = structlog.get_logger(logger_name="app.jobs")

AT_ONCE = 100
"""Jobs that the relay sends in one transaction."""
LEFT_TO_SENDER = timedelta(seconds=10)
"""How long the relay leaves a job to whoever has stored it."""
REMEMBERED = timedelta(days=7)
"""How long it is known that a job was done."""
UNREADABLE_FOR = timedelta(hours=1)
"""How long a job that this version of the service cannot read stands aside for the others."""
_FORGOTTEN_AT_ONCE = 10

OUTBOXES: "dict[Database, Outbox]" = {}


class DoneBeforeError(Exception):
    """The job was done by an earlier run."""


class Outbox:
    """The jobs that a database is still to send, and the ids of those that were done in it.

    Args:
        database: where the tables are.
        metadata: of the tables, when they are in no migration; by default the database's.

    Raises:
        ValueError: the database has an outbox.
    """

    def __init__(self, database: Database, *, metadata: MetaData | None = None) -> None:
        if database in OUTBOXES:
            raise ValueError(f"the {database.name} has an outbox already")
        section = "" if database.section == "alembic" else f"{database.section}_"
        tables = database.metadata if metadata is None else metadata
        self.database = database
        self.waiting = Table(
            f"{section}job_outbox",
            tables,
            Column("id", String(LONGEST_ID), primary_key=True),
            Column("due_at", UtcDateTime(), nullable=False, index=True),
            Column(
                "message",
                Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb"),
                nullable=False,
            ),
        )
        self.handled = Table(
            f"{section}handled_jobs",
            tables,
            Column("id", String(LONGEST_ID), primary_key=True),
            Column("handled_at", UtcDateTime(), nullable=False, index=True),
        )
        OUTBOXES[database] = self

    async def add(
        self, session: AsyncSession, task: Task[P, Any], *args: P.args, **kwargs: P.kwargs
    ) -> Job[Any]:
        """Store a job with what the session changes; it is sent after the commit.

        Args:
            session: of the database of this outbox.
            task: takes a session, so that it can be done once.
            args: the arguments of the function.
            kwargs: the same by name.

        Raises:
            TypeError: these are not the arguments of the function, or it takes no session.
            ValueError: an argument is not of its type.
        """
        if not task.takes_session:
            raise TypeError(f"the task {task.name!r} must take a session first, to be done once")
        composed = compose(task, task.dump(*args, **kwargs))
        message = composed.model_copy(update={"once": True, "kept": True})
        await session.execute(
            insert(self.waiting).values(
                id=message.id,
                due_at=utc_now() + LEFT_TO_SENDER,
                message=message.model_dump_json(),
            )
        )
        queue = current_queue()

        async def hand_over() -> None:
            await self._send_now(queue, message)

        after_commit(session, hand_over)
        return Job(task, message.id)

    async def relay(self, queue: Queue, *, due: datetime | None = None) -> int:
        """Send what is left over; several relays may do it at once.

        Args:
            queue: where to.
            due: what was left to its sender until this moment; by default until now.

        Returns:
            How many were sent.

        Raises:
            Exception: one could not be sent; those before it were, and are gone.
        """
        columns = self.waiting.c
        found = (
            select(columns.id, columns.message)
            .where(columns.due_at <= (due or utc_now()))
            .order_by(columns.due_at)
            .limit(AT_ONCE)
            .with_for_update(skip_locked=True)
        )
        async with self.database.session_context() as session:
            rows = (await session.execute(found)).all()
            gone, failed = await self._send_all(session, queue, rows)
            if gone:
                await session.execute(delete(self.waiting).where(columns.id.in_(gone)))
        if failed is not None:
            raise failed
        return len(gone)

    async def _send_all(
        self, session: AsyncSession, queue: Queue, rows: Sequence[Any]
    ) -> tuple[list[str], Exception | None]:
        """Send jobs until one cannot be sent; what nobody can read is put off."""
        gone: list[str] = []
        for row in rows:
            try:
                message = Message.model_validate_json(row.message)
            except ValueError:
                log.exception("a job of the outbox cannot be read", job_id=row.id)
                later = utc_now() + UNREADABLE_FOR
                unreadable = update(self.waiting).where(self.waiting.c.id == row.id)
                await session.execute(unreadable.values(due_at=later))
                continue
            try:
                await send(queue, message)
            except Exception as error:  # noqa: BLE001 - whatever a queue says
                return gone, error
            gone.append(row.id)
        return gone, None

    async def _send_now(self, queue: Queue, message: Message) -> None:
        await send(queue, message)
        async with self.database.session_context() as session:
            await session.execute(delete(self.waiting).where(self.waiting.c.id == message.id))

    async def remember(self, session: AsyncSession, identifier: str) -> None:
        """Store that a job is done, with what it changes.

        Raises:
            DoneBeforeError: it was done before.
        """
        await self._forget(session)
        values = {"id": identifier, "handled_at": utc_now()}
        try:
            # Two runs at once: the second one waits here until the first is committed.
            await session.execute(insert(self.handled).values(**values))
        except IntegrityError:
            raise DoneBeforeError(identifier) from None

    async def _forget(self, session: AsyncSession) -> None:
        """Remove a few old ids: more than are added."""
        columns = self.handled.c
        old = (
            select(columns.id)
            .where(columns.handled_at < utc_now() - REMEMBERED)
            .limit(_FORGOTTEN_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
        if identifiers := (await session.scalars(old)).all():
            await session.execute(delete(self.handled).where(columns.id.in_(identifiers)))


async def remember(session: AsyncSession, database: Database, identifier: str) -> None:
    """Store in a database that a job is done.

    Raises:
        DoneBeforeError: it was done before.
        RuntimeError: the database has no outbox.
    """
    if database not in OUTBOXES:
        raise RuntimeError(
            f"jobs are done once where their ids are kept: `outbox = Outbox({database.name})` in a"
            ' module below app/models, and make migrate m="Outbox"'
        )
    await OUTBOXES[database].remember(session, identifier)
