"""The first of the service's databases, for tests of what holds for each of them."""

from typing import Annotated, ClassVar

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase

from app.core.database.base import TYPE_ANNOTATION_MAP, ModelMixin
from app.core.database.handle import ReadSession
from app.core.database.layout import DATABASES

database = DATABASES[0]

SessionDep = Annotated[AsyncSession, Depends(database.get_session, scope="function")]
ReadSessionDep = Annotated[ReadSession, Depends(database.get_read_session, scope="function")]


class ExtraBase(DeclarativeBase):
    """Base of tables that are in no migration, because only these tests use them."""

    type_annotation_map: ClassVar = TYPE_ANNOTATION_MAP


class ExtraModel(ModelMixin, ExtraBase):
    """Base of such models."""

    __abstract__ = True
