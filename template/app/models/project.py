"""Projects."""

from sqlalchemy import CheckConstraint, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Model, SoftDeleteMixin, VersionMixin


class Project(SoftDeleteMixin, VersionMixin, Model):
    """Something that is worked on."""

    __tablename__ = "projects"
    __table_args__ = (
        CheckConstraint("name <> ''", name="name_not_empty"),
        # Lists never look at deleted rows, so the index leaves them out (MySQL cannot).
        Index(
            "ix_projects_name_live",
            "name",
            postgresql_where=text("deleted_at IS NULL"),
            sqlite_where=text("deleted_at IS NULL"),
        ),
    )

    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str | None] = mapped_column(Text)
