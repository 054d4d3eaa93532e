"""Encrypting anew under the current master key, row by row, while the service runs.

A row is changed only if its values are still those that were read, so no change of the service is
lost; and only rows that are not under the current key are looked at, so it may be interrupted and
run again, also several at once. Neither `updated_at` nor the version of a row changes.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import structlog
from sqlalchemy import (
    Column,
    ColumnElement,
    CursorResult,
    MetaData,
    Row,
    Table,
    Text,
    and_,
    func,
    or_,
    select,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.base import OWNED
from app.core.database.handle import Database
from app.core.encryption.column import encrypted_columns, place_of
from app.core.encryption.envelope import DecryptionError, prefix
from app.core.encryption.port import encryption
from app.core.encryption.reach import everywhere

log = structlog.get_logger(logger_name="app.encryption")

BATCH = 500


@dataclass(slots=True)
class Outcome:
    """What became of the rows.

    Attributes:
        encrypted: are now under the current master key.
        changed: were changed by somebody else meanwhile; another run takes those that need it.
        unreadable: cannot be decrypted; they stay as they are, and the log names them.
    """

    encrypted: int = 0
    changed: int = 0
    unreadable: int = 0

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return not self.changed and not self.unreadable


async def rotate(
    database: Database, *, metadata: MetaData | None = None, batch: int = BATCH
) -> Outcome:
    """Encrypt every value of a database under the current master key.

    Args:
        database: connected; its models are imported.
        metadata: other tables than those of the database: for tests.
        batch: how many rows are changed in one transaction.
    """
    outcome = Outcome()
    with everywhere("rotate the master key"):
        for table in _tables(database, metadata):
            async for rows in _batches(database, table, batch):
                async with database.session_context() as session:
                    for row in rows:
                        await _encrypt_anew(session, table, row, outcome)
    return outcome


async def count_by_version(
    database: Database, *, metadata: MetaData | None = None
) -> Mapping[str, int]:
    """Count the values of a database by the master key that they need; `other` = by none."""
    versions = {f"v{version}": prefix(version) for version in encryption.keyring.versions}
    counted = dict.fromkeys((*versions, "other"), 0)
    with everywhere("count values by master key"):
        for table in _tables(database, metadata):
            for column in map(_raw, encrypted_columns(table)):
                for version, start in versions.items():
                    matches = column.startswith(start, autoescape=True)
                    counted[version] += await _count(database, table, matches)
                none = and_(
                    column.is_not(None),
                    *(~column.startswith(start, autoescape=True) for start in versions.values()),
                )
                counted["other"] += await _count(database, table, none)
    return counted


async def _count(database: Database, table: Table, condition: ColumnElement[bool]) -> int:
    statement = select(func.count()).select_from(table).where(condition)
    async with database.read_session_context(fresh=True) as session:
        return await session.scalar(statement) or 0


def _tables(database: Database, metadata: MetaData | None) -> list[Table]:
    tables = (database.metadata if metadata is None else metadata).sorted_tables
    return [table for table in tables if encrypted_columns(table)]


def _raw(column: "Column[Any]") -> ColumnElement[Any]:
    """A column as what is stored in it."""
    return type_coerce(column, Text())


async def _batches(
    database: Database, table: Table, batch: int
) -> AsyncIterator[Sequence[Row[Any]]]:
    """Read the rows that are not under the current key, in the order of their primary key."""
    key = list(table.primary_key.columns)
    current = prefix(encryption.keyring.current)
    columns = [_raw(each).label(each.name) for each in encrypted_columns(table)]
    owner = table.info.get(OWNED)
    named = [table.c[owner].label("__tenant")] if owner else []
    old = or_(
        *(~_raw(each).startswith(current, autoescape=True) for each in encrypted_columns(table))
    )
    after: tuple[Any, ...] | None = None
    while True:
        statement = select(
            *(each.label(f"__key_{number}") for number, each in enumerate(key)), *named, *columns
        )
        statement = statement.where(old).order_by(*key).limit(batch)
        if after is not None:
            statement = statement.where(tuple_(*key) > after)
        async with database.session_context() as session:
            rows = (await session.execute(statement)).all()
        if not rows:
            return
        after = tuple(rows[-1][: len(key)])
        yield rows


async def _encrypt_anew(
    session: AsyncSession, table: Table, row: "Row[Any]", outcome: Outcome
) -> None:
    key = list(table.primary_key.columns)
    identity = tuple(row[: len(key)])
    values = row._mapping
    old = {each: values[each.name] for each in encrypted_columns(table)}
    try:
        new = {
            each: encryption.reseal(sealed, *place_of(each, values.get("__tenant"), identity))
            for each, sealed in old.items()
            if sealed is not None
        }
    except DecryptionError as error:
        outcome.unreadable += 1
        log.error(  # noqa: TRY400 - the text says all, and is no secret
            "a value cannot be decrypted",
            table=table.name,
            row=list(map(str, identity)),
            reason=str(error),
        )
        return
    same = (_raw(each) == sealed for each, sealed in old.items() if sealed is not None)
    mine = (column == value for column, value in zip(key, identity, strict=True))
    statement = (
        update(table)
        .where(*mine, *same)
        .values(
            {**_untouched(table.columns), **{each: _text(sealed) for each, sealed in new.items()}}
        )
    )
    done = cast("CursorResult[Any]", await session.execute(statement))
    if done.rowcount == 1:
        outcome.encrypted += 1
    else:
        outcome.changed += 1


def _text(sealed: str) -> ColumnElement[Any]:
    return type_coerce(sealed, Text())


def _untouched(columns: "Iterable[Column[Any]]") -> dict["Column[Any]", "Column[Any]"]:
    """Keep what would otherwise change with every UPDATE, such as `updated_at`."""
    return {column: column for column in columns if column.onupdate is not None}
