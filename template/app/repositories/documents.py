"""Queries of documents."""

import uuid

from sqlalchemy import update

from app.core.database import Repository, utc_now
from app.core.database.pagination import PageRequest, Rows
from app.core.errors import NotFoundError
from app.models.document import Document


class DocumentRepository(Repository[Document]):
    """Documents that are not deleted."""

    model = Document
    sortable = ("created_at", "size", "title", "updated_at")

    async def get_in(self, project_id: uuid.UUID, document_id: uuid.UUID) -> Document:
        """Read a document of one project.

        Raises:
            NotFoundError: the project has no such document.
        """
        document = await self.get(document_id)
        if document.project_id != project_id:
            raise NotFoundError(f"There is no document {document_id}")
        return document

    async def page_of(self, project_id: uuid.UUID, request: PageRequest) -> Rows[Document]:
        """Read one page of a project's documents."""
        belongs = Document.project_id == project_id
        return await self.page(request, belongs, scope=str(project_id))

    async def delete_all_of(self, project_id: uuid.UUID) -> None:
        """Mark every document of a project as deleted."""
        live = Document.project_id == project_id, Document.deleted_at.is_(None)
        deleted = {"deleted_at": utc_now(), "version": Document.version + 1}
        await self.session.execute(update(Document).where(*live).values(deleted))
