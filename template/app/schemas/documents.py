"""Bodies of the document endpoints."""

import uuid
from datetime import datetime
from typing import Annotated

from pydantic import Field

from app.core.schemas import PatchSchema, RequestSchema, ResponseSchema, Text

Title = Annotated[Text, Field(min_length=1, max_length=200)]
Content = Annotated[Text, Field(max_length=60_000)]


class DocumentCreate(RequestSchema):
    """A new document."""

    title: Title
    content: Content = ""


class DocumentPatch(PatchSchema):
    """Changes of a document."""

    title: Title = Field(default_factory=str)
    content: Content = Field(default_factory=str)


class DocumentRead(ResponseSchema):
    """A document."""

    id: uuid.UUID
    project_id: uuid.UUID
    title: str
    content: str
    size: int
    created_at: datetime
    updated_at: datetime
