"""Endpoints of projects."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response, status

from app.core.database import ReadSessionDep, SessionDep
from app.core.database.pagination import CursorPage, PageDep, Rows
from app.core.database.preconditions import PreconditionDep, etag
from app.models.project import Project
from app.schemas.projects import ProjectCreate, ProjectPatch, ProjectRead
from app.services.projects import ProjectService

router = APIRouter(prefix="/projects", tags=["projects"])


async def get_projects(session: SessionDep) -> ProjectService:
    """The service for endpoints that write."""
    return ProjectService(session)


async def get_projects_to_read(session: ReadSessionDep) -> ProjectService:
    """The service for endpoints that only read."""
    return ProjectService(session)


ProjectsDep = Annotated[ProjectService, Depends(get_projects)]
ProjectsToReadDep = Annotated[ProjectService, Depends(get_projects_to_read)]


@router.post("", status_code=status.HTTP_201_CREATED, response_model=ProjectRead)
async def create_project(
    body: ProjectCreate, projects: ProjectsDep, request: Request, response: Response
) -> Project:
    """Start a project."""
    project = await projects.create(body)
    response.headers["Location"] = f"{request.url.path}/{project.id}"
    response.headers["ETag"] = etag(project)
    return project


@router.get("", response_model=CursorPage[ProjectRead])
async def list_projects(
    projects: ProjectsToReadDep,
    page: PageDep,
    name: Annotated[
        str | None, Query(max_length=200, description="Only those of this name")
    ] = None,
) -> Rows[Project]:
    """Read projects, newest first; `sort` by `name`, `created_at` or `updated_at`."""
    return await projects.page(page, name)


@router.get("/{project_id}", response_model=ProjectRead)
async def get_project(
    project_id: uuid.UUID, projects: ProjectsToReadDep, response: Response
) -> Project:
    """Read a project."""
    project = await projects.get(project_id)
    response.headers["ETag"] = etag(project)
    return project


@router.patch("/{project_id}", response_model=ProjectRead)
async def change_project(
    project_id: uuid.UUID,
    body: ProjectPatch,
    projects: ProjectsDep,
    precondition: PreconditionDep,
    response: Response,
) -> Project:
    """Change the fields that are sent, and only those."""
    project = await projects.change(project_id, body, precondition)
    response.headers["ETag"] = etag(project)
    return project


@router.delete("/{project_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_project(
    project_id: uuid.UUID, projects: ProjectsDep, precondition: PreconditionDep
) -> None:
    """Delete a project and its documents."""
    await projects.delete(project_id, precondition)
