from uuid import uuid4

import pytest
from httpx2 import AsyncClient
from sqlalchemy import event
from sqlalchemy.orm import ORMExecuteState, Session

PROJECTS = "/api/v1/projects"


async def new_project(client: AsyncClient) -> str:
    answer = await client.post(PROJECTS, json={"name": "Garden"})
    return f"{PROJECTS}/{answer.json()['id']}/documents"


@pytest.fixture
async def documents(client: AsyncClient) -> str:
    """The path of a project's documents."""
    return await new_project(client)


async def test_create_read_and_change(client: AsyncClient, documents: str) -> None:
    answer = await client.post(documents, json={"title": "Plan", "content": "Dig"})
    assert answer.status_code == 201
    path = answer.headers["location"]
    assert (await client.get(path)).json() == answer.json()

    changed = (await client.patch(path, json={"content": ""})).json()
    assert (changed["title"], changed["content"]) == ("Plan", "")
    assert (answer.json()["size"], changed["size"]) == (3, 0)


async def test_the_longest_content_is_kept(client: AsyncClient, documents: str) -> None:
    content = "語" * 60_000
    answer = await client.post(documents, json={"title": "Plan", "content": content})
    assert answer.status_code == 201
    assert (await client.get(answer.headers["location"])).json()["content"] == content


async def test_the_project_is_locked_until_its_document_is_stored(
    client: AsyncClient, documents: str
) -> None:
    """Where they are in two databases: a job would miss the document of a deleted project."""
    locking: list[Session] = []
    ended: list[Session] = []

    def asks(state: ORMExecuteState) -> None:
        if "FROM projects" in str(state.statement):
            locking.append(state.session)

    def ends(session: Session) -> None:
        ended.append(session)

    event.listen(Session, "do_orm_execute", asks)
    event.listen(Session, "before_commit", ends)
    try:
        assert (await client.post(documents, json={"title": "Plan"})).status_code == 201
    finally:
        event.remove(Session, "do_orm_execute", asks)
        event.remove(Session, "before_commit", ends)
    assert ended[-1:] == locking


async def test_a_list_shows_one_project_s_documents(client: AsyncClient, documents: str) -> None:
    other = await new_project(client)
    for title in ("a", "b", "c"):
        await client.post(documents, json={"title": title})
    await client.post(other, json={"title": "elsewhere"})

    first = (await client.get(documents, params={"limit": 2})).json()
    second = (await client.get(documents, params={"cursor": first["next_cursor"]})).json()
    assert [each["title"] for each in first["items"] + second["items"]] == ["c", "b", "a"]
    assert second["next_cursor"] is None

    foreign = await client.get(other, params={"cursor": first["next_cursor"]})
    assert (foreign.status_code, foreign.json()["code"]) == (400, "bad_request")


async def test_a_document_is_found_in_its_own_project_only(
    client: AsyncClient, documents: str
) -> None:
    document = (await client.post(documents, json={"title": "Plan"})).json()
    other = await new_project(client)
    assert (await client.get(f"{other}/{document['id']}")).status_code == 404
    assert (await client.delete(f"{other}/{document['id']}")).status_code == 404
    assert (await client.get(f"{documents}/{document['id']}")).status_code == 200


async def test_a_deleted_document_is_gone(client: AsyncClient, documents: str) -> None:
    path = (await client.post(documents, json={"title": "Plan"})).headers["location"]
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).status_code == 404
    assert (await client.get(documents)).json()["items"] == []


async def test_documents_go_with_their_project(client: AsyncClient, documents: str) -> None:
    path = (await client.post(documents, json={"title": "Plan"})).headers["location"]
    await client.delete(documents.removesuffix("/documents"))
    for gone in (path, documents):
        assert (await client.get(gone)).status_code == 404
    assert (await client.post(documents, json={"title": "Late"})).status_code == 404


async def test_change_only_what_was_seen(client: AsyncClient, documents: str) -> None:
    created = await client.post(documents, json={"title": "Plan"})
    path, seen = created.headers["location"], {"If-Match": created.headers["etag"]}
    assert (await client.patch(path, json={"title": "Map"}, headers=seen)).status_code == 200
    assert (await client.patch(path, json={"title": "Sketch"}, headers=seen)).status_code == 412
    assert (await client.delete(path, headers=seen)).status_code == 412


async def test_an_unknown_project_has_no_documents(client: AsyncClient) -> None:
    documents = f"{PROJECTS}/{uuid4()}/documents"
    assert (await client.get(documents)).status_code == 404
    assert (await client.post(documents, json={"title": "Plan"})).status_code == 404


@pytest.mark.parametrize(
    "body", [{}, {"title": ""}, {"title": None}, {"title": "x", "content": None}, {"title": "\x00"}]
)
async def test_bad_bodies_store_nothing(client: AsyncClient, documents: str, body: object) -> None:
    assert (await client.post(documents, json=body)).status_code == 422
    assert (await client.get(documents)).json()["items"] == []
