"""What can be done with projects and their documents."""

import uuid

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.pagination import PageRequest, Rows
from app.core.database.preconditions import Precondition
from app.models.document import Document
from app.models.project import Project
from app.repositories.documents import DocumentRepository
from app.repositories.projects import ProjectRepository
from app.schemas.documents import DocumentCreate, DocumentPatch
from app.schemas.projects import ProjectCreate, ProjectPatch


class ProjectService:
    """Rules of the domain; knows neither HTTP nor SQL, and never commits.

    Methods that take an id raise NotFoundError; those that take a precondition raise
    PreconditionFailedError when the row was changed since the caller read it.
    """

    def __init__(self, session: AsyncSession) -> None:
        self.projects = ProjectRepository(session)
        self.documents = DocumentRepository(session)

    async def create(self, body: ProjectCreate) -> Project:
        """Start a project."""
        return await self.projects.add(Project(**body.model_dump()))

    async def get(self, project_id: uuid.UUID) -> Project:
        """Read a project."""
        return await self.projects.get(project_id)

    async def page(self, request: PageRequest, name: str | None) -> Rows[Project]:
        """Read one page of projects, all or those of one name."""
        return await self.projects.page(request, filters={"name": name})

    async def change(
        self, project_id: uuid.UUID, body: ProjectPatch, precondition: Precondition
    ) -> Project:
        """Change what the body names."""
        project = await self.projects.get(project_id)
        precondition.check(project)
        return await self.projects.update(project, body.changes())

    async def delete(self, project_id: uuid.UUID, precondition: Precondition) -> None:
        """Delete a project with its documents."""
        project = await self.projects.get(project_id)
        precondition.check(project)
        await self.documents.delete_all_of(project.id)
        await self.projects.delete(project)

    async def add_document(self, project_id: uuid.UUID, body: DocumentCreate) -> Document:
        """Write a document in a project."""
        project = await self.projects.get(project_id)
        document = Document(project_id=project.id, title=body.title)
        document.write(body.content)
        return await self.documents.add(document)

    async def get_document(self, project_id: uuid.UUID, document_id: uuid.UUID) -> Document:
        """Read a document of a project."""
        project = await self.projects.get(project_id)
        return await self.documents.get_in(project.id, document_id)

    async def page_of_documents(
        self, project_id: uuid.UUID, request: PageRequest
    ) -> Rows[Document]:
        """Read one page of a project's documents."""
        project = await self.projects.get(project_id)
        return await self.documents.page_of(project.id, request)

    async def change_document(
        self,
        project_id: uuid.UUID,
        document_id: uuid.UUID,
        body: DocumentPatch,
        precondition: Precondition,
    ) -> Document:
        """Change what the body names."""
        document = await self.get_document(project_id, document_id)
        precondition.check(document)
        changes = body.changes()
        if "content" in changes:
            document.write(changes.pop("content"))
        return await self.documents.update(document, changes)

    async def delete_document(
        self, project_id: uuid.UUID, document_id: uuid.UUID, precondition: Precondition
    ) -> None:
        """Delete a document of a project."""
        document = await self.get_document(project_id, document_id)
        precondition.check(document)
        await self.documents.delete(document)
