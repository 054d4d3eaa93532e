"""Bases of models in a service with two databases, as SQLModel classes."""

from app.core.database.dual import GeneralBase, UserBase
from app.core.database.styles.sqlmodel import ModelMixin

__all__ = ["GeneralModel", "UserModel"]


class UserModel(ModelMixin, registry=UserBase.registry):
    """Base of models in the user database: `id`, `created_at`, `updated_at`."""


class GeneralModel(ModelMixin, registry=GeneralBase.registry):
    """Base of models in the general database: `id`, `created_at`, `updated_at`."""
