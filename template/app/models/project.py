"""Projects."""

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Model, SoftDeleteMixin


class Project(SoftDeleteMixin, Model):
    """Something that is worked on."""

    __tablename__ = "projects"

    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str | None] = mapped_column(Text)
