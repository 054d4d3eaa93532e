"""Bases of models in a service with one database, as SQLModel classes."""

from app.core.database.single import Base
from app.core.database.styles.sqlmodel import ModelMixin

__all__ = ["Model"]


class Model(ModelMixin, registry=Base.registry):
    """Base of models: `id`, `created_at`, `updated_at`."""
