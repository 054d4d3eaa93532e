"""Bases of models in a service with one database, as declarative classes."""

from app.core.database.base import ModelMixin
from app.core.database.single import Base

__all__ = ["Model"]


class Model(ModelMixin, Base):
    """Base of models: `id`, `created_at`, `updated_at`."""

    __abstract__ = True
