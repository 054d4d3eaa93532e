"""Endpoints of a project's documents."""

import uuid

from fastapi import Request, Response, status

from app.api.v1.projects import ProjectsDep, ProjectsToReadDep
from app.core.database.idempotency import once
from app.core.database.pagination import CursorPage, PageDep, Rows
from app.core.database.preconditions import PreconditionDep, etag
from app.core.web.routes import Router
from app.models.document import Document
from app.models.idempotency import document_keys
from app.schemas.documents import DocumentCreate, DocumentPatch, DocumentRead

router = Router(
    prefix="/projects/{project_id}/documents",
    tags=["documents"],
    route_class=once(document_keys),
)


@router.post("", status_code=status.HTTP_201_CREATED, response_model=DocumentRead)
async def create_document(
    project_id: uuid.UUID,
    body: DocumentCreate,
    projects: ProjectsDep,
    request: Request,
    response: Response,
) -> Document:
    """Write a document."""
    document = await projects.add_document(project_id, body)
    response.headers["Location"] = f"{request.url.path}/{document.id}"
    response.headers["ETag"] = etag(document)
    return document


@router.get("", response_model=CursorPage[DocumentRead])
async def list_documents(
    project_id: uuid.UUID, projects: ProjectsToReadDep, page: PageDep
) -> Rows[Document]:
    """Read a project's documents, newest first; `sort` by `title`, `size` or a time."""
    return await projects.page_of_documents(project_id, page)


@router.get("/{document_id}", response_model=DocumentRead)
async def get_document(
    project_id: uuid.UUID, document_id: uuid.UUID, projects: ProjectsToReadDep, response: Response
) -> Document:
    """Read a document."""
    document = await projects.get_document(project_id, document_id)
    response.headers["ETag"] = etag(document)
    return document


@router.patch("/{document_id}", response_model=DocumentRead)
async def change_document(
    project_id: uuid.UUID,
    document_id: uuid.UUID,
    body: DocumentPatch,
    projects: ProjectsDep,
    precondition: PreconditionDep,
    response: Response,
) -> Document:
    """Change the fields that are sent, and only those."""
    document = await projects.change_document(project_id, document_id, body, precondition)
    response.headers["ETag"] = etag(document)
    return document


@router.delete("/{document_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_document(
    project_id: uuid.UUID,
    document_id: uuid.UUID,
    projects: ProjectsDep,
    precondition: PreconditionDep,
) -> None:
    """Delete a document."""
    await projects.delete_document(project_id, document_id, precondition)
