"""The type of encrypted columns, in both ways of writing models.

    api_key: Mapped[EncryptedStr] = mapped_column(EncryptedText())      SQLAlchemy
    api_key: EncryptedStr = Field(sa_type=EncryptedText)                SQLModel

A value belongs to its column, its row and, where there are tenants, its tenant: elsewhere it is not
decrypted. Only a model knows all of these, so it is the models that tell their values: when they
are loaded, and before they are stored. Whatever goes past them, such as a bulk UPDATE, is refused.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, Dialect, Table, Text, event, inspect
from sqlalchemy.orm import Mapper
from sqlalchemy.types import TypeDecorator

from app.core.database.base import OWNED
from app.core.encryption.port import Place
from app.core.encryption.values import EncryptedStr


class EncryptedText(TypeDecorator[EncryptedStr]):
    """A column whose values are `EncryptedStr`; in the database it is a text.

    Args:
        name: the column's name, `table.column`, to which the values are bound: needed only when
            table or column were renamed since, because the values are bound to the old name.
    """

    impl = Text
    cache_ok = True
    in_migrations = "sa.Text()"

    def __init__(self, name: str | None = None) -> None:
        super().__init__()
        self.name = name

    @property
    def python_type(self) -> type[EncryptedStr]:
        """What a value of this type is in Python."""
        return EncryptedStr

    def process_bind_param(self, value: EncryptedStr | None, _dialect: Dialect) -> str | None:
        """Encrypt.

        Raises:
            TypeError: it is no `EncryptedStr`, or nobody knows to which row it belongs.
        """
        return None if value is None else _checked(value).sealed()

    def process_result_value(self, value: str | None, _dialect: Dialect) -> EncryptedStr | None:
        """Keep what is stored; it is decrypted when somebody asks for it."""
        return None if value is None else EncryptedStr.stored(value)


def _checked(value: object) -> EncryptedStr:
    if not isinstance(value, EncryptedStr):
        # Without the value: exceptions are logged.
        raise TypeError(f"an encrypted column takes an EncryptedStr, not a {type(value).__name__}")
    return value


def encrypted_columns(table: Table) -> list["Column[Any]"]:
    """The encrypted columns of a table."""
    return [column for column in table.columns if isinstance(column.type, EncryptedText)]


def place_of(column: "Column[Any]", tenant: object, key: Iterable[object]) -> Place:
    """Name where a value belongs.

    Args:
        column: an encrypted one.
        tenant: to which the row belongs, or None.
        key: the row's primary key.
    """
    kind: EncryptedText = column.type  # type: ignore[assignment]
    name = kind.name or f"{column.table.name}.{column.name}"
    return (name, "" if tenant is None else str(tenant), *map(str, key))


# --- what models do for their values ---


@dataclass(frozen=True, slots=True)
class _Attribute:
    """An encrypted attribute of a model, and what tells to which row a value belongs."""

    name: str
    column: "Column[Any]"
    tenant: str | None
    key: tuple[tuple[str, "Column[Any]"], ...]

    def place(self, values: dict[str, Any]) -> Place | None:
        """Name where the value of an object belongs, if that is loaded."""
        wanted = [name for name, _ in self.key] + ([self.tenant] if self.tenant else [])
        if any(values.get(name) is None for name in wanted):
            return None
        tenant = values[self.tenant] if self.tenant else None
        return place_of(self.column, tenant, (values[name] for name, _ in self.key))


def watch_models() -> None:
    """Have every model that has encrypted columns tell their values where they belong."""
    event.listen(Mapper, "mapper_configured", _watch)


def _watch(mapper: "Mapper[Any]", model: type) -> None:
    if _attributes(mapper):
        event.listen(model, "load", _place_loaded)
        event.listen(model, "refresh", _place_loaded)
        event.listen(model, "before_insert", _place_new)
        event.listen(model, "before_update", _place_new)


@lru_cache(maxsize=1024)
def _attributes(mapper: "Mapper[Any]") -> tuple[_Attribute, ...]:
    return tuple(_find_attributes(mapper))


def _find_attributes(mapper: "Mapper[Any]") -> Iterator[_Attribute]:
    def name_of(column: "Column[Any]") -> str:
        return mapper.get_property_by_column(column).key

    for attribute in mapper.column_attrs:
        for column in attribute.columns:
            if isinstance(column, Column) and isinstance(column.type, EncryptedText):
                table = column.table
                owner = table.info.get(OWNED)
                yield _Attribute(
                    attribute.key,
                    column,
                    name_of(table.columns[owner]) if owner else None,
                    tuple((name_of(each), each) for each in table.primary_key.columns),
                )


def _place_loaded(target: Any, _context: object, *_: object) -> None:
    for attribute in _attributes(target.__mapper__):
        value = target.__dict__.get(attribute.name)
        if isinstance(value, EncryptedStr) and (place := attribute.place(target.__dict__)):
            value.placed(place)


def _place_new(mapper: "Mapper[Any]", _connection: object, target: Any) -> None:
    for attribute in _attributes(mapper):
        value = target.__dict__.get(attribute.name)
        if value is None:
            continue
        _fill_in_key(target, attribute)
        place = attribute.place(target.__dict__)
        if place is None and not inspect(target).attrs[attribute.name].history.added:
            continue  # not all of the row was loaded, and this value stays as it is
        if place is None:
            raise TypeError(
                f"{type(target).__name__} must know its primary key before it is stored, because"
                f" {attribute.name} is encrypted for it"
            )
        here = _checked(value).at(place)
        if here is not value:
            setattr(target, attribute.name, here)


def _fill_in_key(target: Any, attribute: _Attribute) -> None:
    """Make the id now that would be made when the row is stored."""
    for name, column in attribute.key:
        default = column.default
        if target.__dict__.get(name) is None and default is not None and default.is_callable:
            setattr(target, name, default.arg(None))  # type: ignore[attr-defined]
