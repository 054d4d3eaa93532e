"""Queries of projects."""

import re
import secrets
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import IntegrityError

from app.core.database import Repository
from app.core.errors import ConflictError
from app.models.project import Project

LONGEST_MADE = 50
"""Characters of a slug that is made of a name: that leaves room for what makes it unique."""


class ProjectRepository(Repository[Project]):
    """Projects that are not deleted."""

    model = Project
    sortable = ("created_at", "name", "updated_at")
    filterable = ("name", "slug")

    async def add_with_slug(self, **values: Any) -> Project:
        """Store a new project under a slug that is made of its name, and free."""
        slug = slug_of(values["name"])
        try:
            # Tried rather than looked up: others may store the same at the same time.
            async with self.session.begin_nested():
                return await super().add(Project(**values, slug=slug))
        except IntegrityError:
            return await self.add(Project(**values, slug=f"{slug}-{secrets.token_hex(4)}"))

    async def add(self, entity: Project) -> Project:
        """Store a new project.

        Raises:
            ConflictError: another one has its slug.
        """
        with _free(entity.slug):
            return await super().add(entity)

    async def update(self, entity: Project, changes: Mapping[str, Any]) -> Project:
        """Change attributes by name.

        Raises:
            ConflictError: another project has the slug.
            StaleDataError: somebody else changed the row meanwhile (answered by 409 or 412).
        """
        with _free(changes.get("slug", entity.slug)):
            return await super().update(entity, changes)


def slug_of(name: str) -> str:
    """What is left of a name in the letters and digits of a slug."""
    letters = unicodedata.normalize("NFKD", name.lower()).encode("ascii", "ignore").decode()
    return "-".join(re.findall(r"[a-z0-9]+", letters))[:LONGEST_MADE].strip("-") or "project"


@contextmanager
def _free(slug: str) -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise ConflictError(f"There is a project with the slug {slug} already") from None
