"""Queries of projects."""

from app.core.database import Repository
from app.models.project import Project


class ProjectRepository(Repository[Project]):
    """Projects that are not deleted."""

    model = Project
    sortable = ("created_at", "name", "updated_at")
    filterable = ("name",)
