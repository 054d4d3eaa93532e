"""Mixins of models that are SQLModel classes.

They give the very tables that SQLAlchemy's declarative classes give: the same columns in the same
order and of the same types, so that migrations do not tell how a service writes its models. A class
with `table=True` does not validate what it is made of: let schemas do that, and never use such a
class as the body of a request or of a response.
"""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import Column, MetaData, String, Table
from sqlalchemy.orm import declared_attr
from sqlalchemy.sql.schema import SchemaItem
from sqlmodel import Field, SQLModel
from sqlmodel.sql.sqltypes import AutoString, UTCDateTime

from app.core.database.base import Entity, SoftDeletable, Versioned
from app.core.database.types import UtcDateTime, utc_now, uuid7

__all__ = ["SoftDeleteMixin", "VersionMixin"]

_PLACE = "sort_order"


def placed(place: int, **options: Any) -> dict[str, Any]:
    """What `mapped_column(sort_order=...)` says: a model's own columns stand at 0."""
    return {"info": {_PLACE: place}, **options}


class ModelMixin(Entity, SQLModel):
    """What every table has: `id` (UUIDv7, so it sorts by age), `created_at`, `updated_at`."""

    id: uuid.UUID = Field(default_factory=uuid7, primary_key=True, sa_column_kwargs=placed(-2))
    created_at: datetime = Field(default_factory=utc_now, sa_column_kwargs=placed(100))
    updated_at: datetime = Field(
        default_factory=utc_now, sa_column_kwargs=placed(101, onupdate=utc_now)
    )

    @classmethod
    def __table_cls__(
        cls, name: str, metadata: MetaData, *items: SchemaItem, **options: Any
    ) -> Table:
        """Make the table; SQLAlchemy calls it."""
        columns = [item for item in items if isinstance(item, Column)]
        others = [item for item in items if not isinstance(item, Column)]
        for column in columns:
            _use_own_type(column)
        columns.sort(key=lambda column: column.info.get(_PLACE, 0))
        return Table(name, metadata, *columns, *others, **options)


def _use_own_type(column: "Column[Any]") -> None:
    """Replace the types of SQLModel.

    Its times lose their microseconds on MySQL, and migrations should not need it.
    """
    if isinstance(column.type, UTCDateTime):
        column.type = UtcDateTime()
    elif isinstance(column.type, AutoString):
        column.type = String(column.type.length)


class SoftDeleteMixin(SoftDeletable):
    """Rows that are marked as deleted and from then on not found."""

    deleted_at: datetime | None = Field(default=None, sa_column_kwargs=placed(102))


class VersionMixin(Versioned):
    """Rows that two writers cannot change at once: the second one's UPDATE finds nothing.

    The version counts the changes of a row and is its ETag, see `app.core.database.preconditions`.
    """

    version: int = Field(default=1, sa_column_kwargs=placed(103))

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805 - SQLAlchemy calls it with the class
        return {"version_id_col": cls.version}
