"""The order of a list, and where in it a page begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, UnaryExpression, and_, or_
from sqlalchemy.orm import InstrumentedAttribute

from app.core.database.base import Entity
from app.core.errors import ValidationFailedError


@dataclass(frozen=True, slots=True)
class Ordering:
    """Columns that together order every row, all ascending or all descending.

    The id is always the last one: rows that are equal in the others need an order too.
    """

    columns: Sequence[InstrumentedAttribute[Any]]
    descending: bool

    @property
    def expressions(self) -> list[UnaryExpression[Any]]:
        """What ORDER BY says."""
        return [column.desc() if self.descending else column.asc() for column in self.columns]

    def position_of(self, entity: Entity) -> list[Any]:
        """The values that say where a row stands."""
        return [getattr(entity, column.key) for column in self.columns]

    def after(self, position: Sequence[Any]) -> ColumnElement[bool]:
        """The condition of all rows that follow a position.

        For columns a, b: `a >= 1 AND (a > 1 OR (a = 1 AND b > 2))`. The second part says all, but
        PostgreSQL and SQLite enter an index only by a condition that holds for each row.
        """
        values = [_restore(c, v) for c, v in zip(self.columns, position, strict=True)]
        alternatives = []
        for index, (column, value) in enumerate(zip(self.columns, values, strict=True)):
            equal = [c == v for c, v in zip(self.columns[:index], values[:index], strict=True)]
            beyond = column < value if self.descending else column > value
            alternatives.append(and_(*equal, beyond))
        if len(alternatives) == 1:
            return alternatives[0]
        column, value = self.columns[0], values[0]
        return and_(column <= value if self.descending else column >= value, or_(*alternatives))


def parse_sort(sort: str | None, model: type[Entity], sortable: Sequence[str]) -> Ordering:
    """Read a `sort` parameter such as `-created_at`; without one, the newest come first.

    Raises:
        ValidationFailedError: the field is not one that may be sorted by.
    """
    if sort is None:
        return Ordering([model.id], descending=True)
    name = sort.removeprefix("-")
    if name not in sortable:
        raise ValidationFailedError(f"sort must be one of {', '.join(sorted(sortable))}")
    return Ordering([getattr(model, name), model.id], descending=sort.startswith("-"))


def _restore(column: InstrumentedAttribute[Any], value: Any) -> Any:
    """Turn what JSON has made of a value back into what the column compares with."""
    python_type = column.type.python_type
    if python_type is datetime:
        return datetime.fromisoformat(value)
    if python_type is UUID:
        return UUID(value)
    return value
