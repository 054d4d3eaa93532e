"""Bases of models in a service with two databases, as declarative classes."""

from app.core.database.base import ModelMixin
from app.core.database.dual import GeneralBase, UserBase

__all__ = ["GeneralModel", "UserModel"]


class UserModel(ModelMixin, UserBase):
    """Base of models in the user database: `id`, `created_at`, `updated_at`."""

    __abstract__ = True


class GeneralModel(ModelMixin, GeneralBase):
    """Base of models in the general database: `id`, `created_at`, `updated_at`."""

    __abstract__ = True
