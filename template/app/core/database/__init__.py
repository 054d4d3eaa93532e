"""The database layer. Import what you use from here."""

from app.core.database.base import Base, Model, SoftDeleteMixin
from app.core.database.repository import Repository
from app.core.database.session import (
    ReadSession,
    ReadSessionDep,
    SessionDep,
    get_read_session,
    get_read_session_context,
    get_session,
    get_session_context,
)
from app.core.database.types import UtcDateTime, utc_now, uuid7

__all__ = [
    "Base",
    "Model",
    "ReadSession",
    "ReadSessionDep",
    "Repository",
    "SessionDep",
    "SoftDeleteMixin",
    "UtcDateTime",
    "get_read_session",
    "get_read_session_context",
    "get_session",
    "get_session_context",
    "utc_now",
    "uuid7",
]
