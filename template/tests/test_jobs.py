from typing import Any

import pytest
from httpx2 import AsyncClient
from sqlalchemy import Connection, func, inspect, select, update

from app.core.database import utc_now
from app.core.database.layout import DATABASES
from app.core.jobs import enqueue
from app.jobs.documents import KEPT, purge_documents
from app.models.document import Document
from tests.core.everywhere import everywhere
from tests.core.jobs.collected import Collected

PROJECTS = "/api/v1/projects"
TABLE = Document.metadata.tables["documents"]
ROWS = select(func.count()).select_from(TABLE)
LIVE = ROWS.where(TABLE.c.deleted_at.is_(None))


async def write(client: AsyncClient) -> str:
    """Write a document, and give the path of its project."""
    project = (await client.post(PROJECTS, json={"name": "Garden"})).headers["location"]
    await client.post(f"{project}/documents", json={"title": "Plan"})
    return project


async def count(statement: Any) -> Any:
    with everywhere():
        async with DATABASES[-1].session_context() as session:
            return await session.scalar(statement)


async def test_documents_are_deleted_after_their_project(
    client: AsyncClient, jobs: Collected
) -> None:
    await client.delete(await write(client))
    assert await count(LIVE) == 1
    assert await jobs.run_all() == ["documents.delete_documents"]
    assert (await count(LIVE), await count(ROWS)) == (0, 1)


async def test_the_purge_has_an_index(client: AsyncClient) -> None:
    def indexed(connection: Connection) -> list[object]:
        return [index["column_names"] for index in inspect(connection).get_indexes("documents")]

    with everywhere():
        async with DATABASES[-1].session_context() as session:
            found = await (await session.connection()).run_sync(indexed)
    assert ["deleted_at"] in found


async def test_documents_are_purged_when_they_were_deleted_long_ago(
    client: AsyncClient, jobs: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.documents.AT_ONCE", 1)
    await write(client)
    for _ in range(2):
        await client.delete(await write(client))
    await jobs.run_all()
    await enqueue(purge_documents)
    await jobs.run_all()
    assert await count(ROWS) == 3
    with everywhere():
        async with DATABASES[-1].session_context() as session:
            deleted = update(TABLE).where(TABLE.c.deleted_at.is_not(None))
            await session.execute(deleted.values(deleted_at=utc_now() - 2 * KEPT))
    await enqueue(purge_documents)
    await jobs.run_all()
    assert (await count(ROWS), await count(LIVE)) == (1, 1)
