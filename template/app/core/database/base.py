"""What every model is made of, whichever database it belongs to and however it is written."""

import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Uuid, event
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from app.core.database.types import UtcDateTime, utc_now, uuid7

# Constraint names that are the same everywhere: migrations and error answers rely on them.
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


OWNED = "owned_by_tenants"
"""Key in the `info` of tables whose rows belong to tenants; its value is the tenant's column."""

KEPT_FOR = "kept_for_tenants"
"""Key in the `info` of other tables that keep something for tenants; its value makes, of a tenant's
id, the condition that finds it."""

TYPE_ANNOTATION_MAP: dict[Any, Any] = {datetime: UtcDateTime(), uuid.UUID: Uuid()}


# What the foundation asks a model for. SQLAlchemy's declarative classes and those of SQLModel give
# the same columns different types, so what they have in common are these classes without columns.


class Entity:
    """Any model, however it is written: it has an id."""

    if TYPE_CHECKING:
        id: Mapped[uuid.UUID]

    @classmethod
    def __visible_rows__(cls) -> Iterator[ColumnElement[bool]]:
        """The conditions of all queries of this model; mixins add theirs."""
        yield from ()


class SoftDeletable:
    """Any model whose rows are marked as deleted."""

    if TYPE_CHECKING:
        deleted_at: Mapped[datetime | None]


class Versioned:
    """Any model whose rows have a version."""

    if TYPE_CHECKING:
        version: Mapped[int]


class ModelMixin(Entity):
    """What every table has: `id` (UUIDv7, so it sorts by age), `created_at`, `updated_at`."""

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7, sort_order=-2)
    created_at: Mapped[datetime] = mapped_column(default=utc_now, sort_order=100)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now, sort_order=101)


@event.listens_for(ModelMixin, "init", propagate=True)
def _give_id(_row: ModelMixin, _args: tuple[Any, ...], values: dict[str, Any]) -> None:
    """A row that is new knows its id: nothing has to be read back when it is stored."""
    values.setdefault("id", uuid7())


class SoftDeleteMixin(SoftDeletable):
    """Rows that are marked as deleted and from then on not found."""

    deleted_at: Mapped[datetime | None] = mapped_column(default=None, sort_order=102)


class VersionMixin(Versioned):
    """Rows that two writers cannot change at once: the second one's UPDATE finds nothing.

    The version counts the changes of a row and is its ETag, see `app.core.database.preconditions`.
    """

    version: Mapped[int] = mapped_column(default=1, sort_order=103)

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805 - SQLAlchemy calls it with the class
        return {"version_id_col": cls.version}
