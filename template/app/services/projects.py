"""What can be done with projects and their documents."""

import uuid

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.pagination import PageRequest, Rows
from app.models.document import Document
from app.models.project import Project
from app.repositories.documents import DocumentRepository
from app.repositories.projects import ProjectRepository
from app.schemas.documents import DocumentCreate, DocumentPatch
from app.schemas.projects import ProjectCreate, ProjectPatch


class ProjectService:
    """Rules of the domain; knows neither HTTP nor SQL, and never commits."""

    def __init__(self, session: AsyncSession) -> None:
        self.projects = ProjectRepository(session)
        self.documents = DocumentRepository(session)

    async def create(self, body: ProjectCreate) -> Project:
        """Start a project."""
        return await self.projects.add(Project(**body.model_dump()))

    async def get(self, project_id: uuid.UUID) -> Project:
        """Read a project; raises NotFoundError."""
        return await self.projects.get(project_id)

    async def page(self, request: PageRequest) -> Rows[Project]:
        """Read one page of projects, newest first."""
        return await self.projects.page(request)

    async def change(self, project_id: uuid.UUID, body: ProjectPatch) -> Project:
        """Change what the body names; raises NotFoundError."""
        project = await self.projects.get(project_id)
        return await self.projects.update(project, body.changes())

    async def delete(self, project_id: uuid.UUID) -> None:
        """Delete a project with its documents; raises NotFoundError."""
        project = await self.projects.get(project_id)
        await self.documents.delete_all_of(project.id)
        await self.projects.delete(project)

    async def add_document(self, project_id: uuid.UUID, body: DocumentCreate) -> Document:
        """Write a document in a project; raises NotFoundError."""
        project = await self.projects.get(project_id)
        return await self.documents.add(Document(project_id=project.id, **body.model_dump()))

    async def get_document(self, project_id: uuid.UUID, document_id: uuid.UUID) -> Document:
        """Read a document of a project; raises NotFoundError."""
        project = await self.projects.get(project_id)
        return await self.documents.get_in(project.id, document_id)

    async def page_of_documents(
        self, project_id: uuid.UUID, request: PageRequest
    ) -> Rows[Document]:
        """Read one page of a project's documents, newest first; raises NotFoundError."""
        project = await self.projects.get(project_id)
        return await self.documents.page_of(project.id, request)

    async def change_document(
        self, project_id: uuid.UUID, document_id: uuid.UUID, body: DocumentPatch
    ) -> Document:
        """Change what the body names; raises NotFoundError."""
        document = await self.get_document(project_id, document_id)
        return await self.documents.update(document, body.changes())

    async def delete_document(self, project_id: uuid.UUID, document_id: uuid.UUID) -> None:
        """Delete a document of a project; raises NotFoundError."""
        await self.documents.delete(await self.get_document(project_id, document_id))
