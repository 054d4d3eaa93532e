"""The database layer. Import what you use from here."""

from app.core.database.base import Base, Model, SoftDeleteMixin, VersionMixin
from app.core.database.repository import Repository
from app.core.database.session import (
    ReadSession,
    ReadSessionDep,
    SessionDep,
    after_commit,
    get_read_session,
    get_read_session_context,
    get_session,
    get_session_context,
    init_db,
)
from app.core.database.types import UtcDateTime, utc_now, uuid7
from app.core.database.unit_of_work import in_transaction

__all__ = [
    "Base",
    "Model",
    "ReadSession",
    "ReadSessionDep",
    "Repository",
    "SessionDep",
    "SoftDeleteMixin",
    "UtcDateTime",
    "VersionMixin",
    "after_commit",
    "get_read_session",
    "get_read_session_context",
    "get_session",
    "get_session_context",
    "in_transaction",
    "init_db",
    "utc_now",
    "uuid7",
]
