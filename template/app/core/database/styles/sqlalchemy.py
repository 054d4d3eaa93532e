"""Mixins of models that are SQLAlchemy's declarative classes."""

from app.core.database.base import SoftDeleteMixin, VersionMixin

__all__ = ["SoftDeleteMixin", "VersionMixin"]
