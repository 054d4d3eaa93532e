"""The repository: the one place that builds a model's queries."""

import uuid
from typing import ClassVar, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.base import Model, SoftDeleteMixin
from app.core.database.pagination import PageRequest, Rows
from app.core.database.types import utc_now
from app.core.errors import NotFoundError

ModelT = TypeVar("ModelT", bound=Model)


class Repository(Generic[ModelT]):
    """Base of repositories; a subclass names its `model`.

    Repositories neither commit nor know of HTTP. Every query starts from `query()`, which leaves
    soft-deleted rows out: extend it, and the rule holds everywhere.
    """

    model: ClassVar[type[Model]]

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    def query(self) -> Select[ModelT]:
        """A SELECT of the rows that exist for the caller."""
        statement = select(self.model)
        if issubclass(self.model, SoftDeleteMixin):
            statement = statement.where(self.model.deleted_at.is_(None))
        return statement  # type: ignore[return-value]

    async def get(self, identifier: uuid.UUID) -> ModelT:
        """Read one row.

        Raises:
            NotFoundError: there is none with this id, or it is deleted.
        """
        found = await self.session.scalar(self.query().where(self.model.id == identifier))
        if found is None:
            raise NotFoundError(f"There is no {self.model.__name__.lower()} {identifier}")
        return found

    async def page(
        self, request: PageRequest, *where: ColumnElement[bool], scope: str | None = None
    ) -> Rows[ModelT]:
        """Read one page, newest first.

        Args:
            request: which page.
            where: further conditions.
            scope: names the list when `where` does, so that its cursors serve only there.

        Raises:
            BadRequestError: the cursor belongs to another list.
        """
        name = scope or self.model.__tablename__
        statement = self.query().where(*where)
        if (after := request.position(name)) is not None:
            statement = statement.where(self.model.id < after)
        # One row more than asked for tells whether another page follows.
        statement = statement.order_by(self.model.id.desc()).limit(request.limit + 1)
        rows = (await self.session.scalars(statement)).all()
        items = rows[: request.limit]
        more = len(rows) > request.limit
        return Rows(items, request.cursor_after(name, items[-1].id) if more else None)

    async def add(self, entity: ModelT) -> ModelT:
        """Store a new row; its defaults are filled in afterwards."""
        self.session.add(entity)
        await self.session.flush()
        return entity

    async def update(self, entity: ModelT, changes: dict[str, object]) -> ModelT:
        """Change attributes by name."""
        for name, value in changes.items():
            setattr(entity, name, value)
        await self.session.flush()
        return entity

    async def delete(self, entity: ModelT) -> None:
        """Mark a row as deleted, or remove it where the model has no `deleted_at`."""
        if isinstance(entity, SoftDeleteMixin):
            entity.deleted_at = utc_now()
        else:
            await self.session.delete(entity)
        await self.session.flush()
