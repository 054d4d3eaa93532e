"""Bodies of the project endpoints."""

import uuid
from datetime import datetime
from typing import Annotated

from pydantic import Field

from app.core.schemas import PatchSchema, RequestSchema, ResponseSchema, Text

Name = Annotated[Text, Field(min_length=1, max_length=200)]
Slug = Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9](-?[a-z0-9])*$")]
Description = Annotated[Text, Field(max_length=10_000)]


class ProjectCreate(RequestSchema):
    """A new project; without a slug it gets one that is made of its name."""

    name: Name
    slug: Slug | None = None
    description: Description | None = None


class ProjectPatch(PatchSchema):
    """Changes of a project."""

    name: Name = Field(default_factory=str)
    slug: Slug = Field(default_factory=str)
    description: Description | None = None


class ProjectRead(ResponseSchema):
    """A project."""

    id: uuid.UUID
    name: str
    slug: str
    description: str | None
    created_at: datetime
    updated_at: datetime
