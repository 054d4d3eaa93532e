"""The repository: the one place that builds a model's queries."""

import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, ClassVar, Generic, Literal, TypeVar

from sqlalchemy import ColumnElement, Select, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.base import Entity, SoftDeletable
from app.core.database.ordering import parse_sort
from app.core.database.pagination import PageRequest, Rows
from app.core.database.types import utc_now
from app.core.errors import NotFoundError

ModelT = TypeVar("ModelT", bound=Entity)
Lock = Literal["change", "keep"]


class Repository(Generic[ModelT]):
    """Base of repositories; a subclass names its `model`.

    Repositories neither commit nor know of HTTP. Every query starts from `query()`, which leaves
    soft-deleted rows out: extend it, and the rule holds everywhere.

    Attributes:
        model: the class of the rows.
        sortable: fields that a caller may sort by; none of them may be empty (NULL).
        filterable: fields that a caller may filter by, for equality.
    """

    model: ClassVar[type[Entity]]
    sortable: ClassVar[tuple[str, ...]] = ("created_at", "updated_at")
    filterable: ClassVar[tuple[str, ...]] = ()

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    # --- reading ---

    def query(self, *where: ColumnElement[bool], with_deleted: bool = False) -> Select[ModelT]:
        """A SELECT of the rows that exist for the caller."""
        statement = select(self.model).where(*self.model.__visible_rows__(), *where)
        if issubclass(self.model, SoftDeletable) and not with_deleted:
            statement = statement.where(self.model.deleted_at.is_(None))
        return statement  # type: ignore[return-value]

    async def get(
        self, identifier: uuid.UUID, *, lock: Lock | None = None, with_deleted: bool = False
    ) -> ModelT:
        """Read one row.

        Args:
            identifier: its id.
            lock: holds off others until the end of the transaction: "change" all who lock it too,
                "keep" only those who change it. SQLite has one writer anyway.
            with_deleted: whether a row that is marked as deleted counts.

        Raises:
            NotFoundError: there is none with this id, or it is deleted.
        """
        statement = self.query(self.model.id == identifier, with_deleted=with_deleted)
        if lock is not None:
            statement = statement.with_for_update(read=lock == "keep")
        found = await self.session.scalar(statement)
        if found is None:
            raise NotFoundError(f"There is no {self.model.__name__.lower()} {identifier}")
        return found

    async def exists(self, *where: ColumnElement[bool]) -> bool:
        """Whether any row fulfils the conditions."""
        return bool(await self.session.scalar(select(exists(self.query(*where)))))

    async def count(self, *where: ColumnElement[bool]) -> int:
        """How many rows fulfil the conditions."""
        statement = select(func.count()).select_from(self.query(*where).subquery())
        return await self.session.scalar(statement) or 0

    async def page(
        self,
        request: PageRequest,
        *where: ColumnElement[bool],
        scope: str = "",
        filters: Mapping[str, object] | None = None,
    ) -> Rows[ModelT]:
        """Read one page, the newest rows first unless the caller sorts.

        Args:
            request: which page, in which order.
            where: further conditions.
            scope: names the list when `where` does, so that its cursors serve only there.
            filters: wanted values by field; None does not filter.

        Raises:
            BadRequestError: the cursor belongs to another list.
            ValidationFailedError: the list cannot be sorted by this field.
        """
        ordering = parse_sort(request.sort, self.model, self.sortable)
        wanted = {name: value for name, value in (filters or {}).items() if value is not None}
        name = f"{self.model.__name__}:{scope}:{request.sort}:{sorted(wanted.items())}"
        statement = self.query(*where, *self._equal(wanted))
        if (position := request.position(name)) is not None:
            statement = statement.where(ordering.after(position))
        # One row more than asked for tells whether another page follows.
        statement = statement.order_by(*ordering.expressions).limit(request.limit + 1)
        rows = (await self.session.scalars(statement)).all()
        items = rows[: request.limit]
        if len(rows) == len(items):
            return Rows(items, next_cursor=None)
        return Rows(items, request.cursor_after(name, ordering.position_of(items[-1])))

    async def stream(self, *where: ColumnElement[bool], batch: int = 500) -> AsyncIterator[ModelT]:
        """Read many rows, holding only a batch of them in memory."""
        statement = self.query(*where).execution_options(yield_per=batch)
        async for entity in await self.session.stream_scalars(statement):
            yield entity

    def _equal(self, wanted: Mapping[str, object]) -> list[ColumnElement[bool]]:
        if unknown := wanted.keys() - set(self.filterable):
            raise ValueError(f"{type(self).__name__} does not filter by {sorted(unknown)}")
        return [getattr(self.model, name) == value for name, value in wanted.items()]

    # --- writing ---

    async def add(self, entity: ModelT) -> ModelT:
        """Store a new row; its defaults are filled in afterwards."""
        self.session.add(entity)
        await self.session.flush()
        return entity

    async def add_all(self, entities: Iterable[ModelT]) -> list[ModelT]:
        """Store several new rows in one round trip."""
        stored = list(entities)
        self.session.add_all(stored)
        await self.session.flush()
        return stored

    async def update(self, entity: ModelT, changes: Mapping[str, Any]) -> ModelT:
        """Change attributes by name.

        Raises:
            StaleDataError: somebody else changed the row meanwhile (answered by 409 or 412).
        """
        for name, value in changes.items():
            setattr(entity, name, value)
        await self.session.flush()
        return entity

    async def delete(self, entity: ModelT) -> None:
        """Mark a row as deleted, or remove it where the model has no `deleted_at`."""
        if isinstance(entity, SoftDeletable):
            entity.deleted_at = utc_now()
            await self.session.flush()
        else:
            await self.delete_for_ever(entity)

    async def restore(self, entity: ModelT) -> ModelT:
        """Take the mark back from a row that was read `with_deleted`.

        Raises:
            TypeError: the model has no `deleted_at`.
        """
        if not isinstance(entity, SoftDeletable):
            raise TypeError(f"{self.model.__name__} is not marked as deleted but removed")
        entity.deleted_at = None
        await self.session.flush()
        return entity

    async def delete_for_ever(self, entity: ModelT) -> None:
        """Remove a row, and what the database removes with it."""
        await self.session.delete(entity)
        await self.session.flush()
