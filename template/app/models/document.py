"""Documents."""

import uuid

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Model, SoftDeleteMixin, VersionMixin


class Document(SoftDeleteMixin, VersionMixin, Model):
    """A text that belongs to a project and goes with it."""

    __tablename__ = "documents"
    __table_args__ = (
        CheckConstraint("title <> ''", name="title_not_empty"),
        Index(
            "ix_documents_project_id_live",
            "project_id",
            "id",
            postgresql_where=text("deleted_at IS NULL"),
            sqlite_where=text("deleted_at IS NULL"),
        ),
    )

    project_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("projects.id", ondelete="CASCADE"), index=True
    )
    title: Mapped[str] = mapped_column(String(200))
    content: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(server_default=text("0"))

    def write(self, content: str) -> None:
        """Replace the content; the size, in characters, follows it."""
        self.content = content
        self.size = len(content)
