"""Column types and values that mean the same on every database."""

import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator
from uuid_utils import compat


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC with microseconds; aware on both sides, whatever the database keeps."""

    impl = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        """What a value of this type is in Python."""
        return datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Store in UTC.

        Raises:
            ValueError: the value has no time zone, so nobody knows which moment is meant.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without time zone cannot be stored: {value!r}")
        moment = value.astimezone(UTC)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def result_processor(self, dialect: Dialect, coltype: Any) -> Any:
        """Read as the driver does where that is in UTC already: a list has many times."""
        return None if dialect.name == "postgresql" else super().result_processor(dialect, coltype)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Read as UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def utc_now() -> datetime:
    """The current moment, aware."""
    return datetime.now(UTC)


def uuid7() -> uuid.UUID:
    """A new identifier that sorts by the time of its making (RFC 9562, version 7)."""
    return compat.uuid7()
