import asyncio

import pytest
from httpx2 import AsyncClient

from app.config import Settings
from app.core.application import create_app
from app.core.discovery import discover_routers
from tests.core.migrating import migrate
from tests.core.plugin import MEMBER, Addresses, caller_of, with_changes

PROJECTS = "/api/v1/projects"

UNKNOWN = "01997e0a-0000-7000-8000-000000000000"


async def create(client: AsyncClient, name: str = "Garden", **more: str) -> dict[str, str]:
    answer = await client.post(PROJECTS, json={"name": name, **more})
    assert answer.status_code == 201
    project: dict[str, str] = answer.json()
    return project


async def test_create_and_read(client: AsyncClient) -> None:
    answer = await client.post(PROJECTS, json={"name": " Garden ", "description": "Beds"})
    project = answer.json()
    assert answer.status_code == 201
    assert (project["name"], project["description"]) == ("Garden", "Beds")
    assert answer.headers["location"] == f"{PROJECTS}/{project['id']}"
    assert (await client.get(answer.headers["location"])).json() == project


async def test_change_what_is_sent_and_only_that(client: AsyncClient) -> None:
    project = await create(client, description="Beds")
    path = f"{PROJECTS}/{project['id']}"

    renamed = (await client.patch(path, json={"name": "Orchard"})).json()
    assert (renamed["name"], renamed["description"]) == ("Orchard", "Beds")
    assert renamed["updated_at"] > project["updated_at"]

    emptied = (await client.patch(path, json={"description": None})).json()
    assert (emptied["name"], emptied["description"]) == ("Orchard", None)
    assert (await client.patch(path, json={})).json() == emptied


@pytest.mark.parametrize(
    ("name", "slug"),
    [("Garden", "garden"), (" Café  Zürich! ", "cafe-zurich"), ("\U0001f600", "project")],
)
async def test_a_slug_is_made_of_the_name(client: AsyncClient, name: str, slug: str) -> None:
    first, second = [(await create(client, name=name))["slug"] for _ in range(2)]
    assert first == slug
    assert second.startswith(f"{slug}-")
    assert len((await create(client, name="x-" * 100))["slug"]) <= 63


@pytest.fixture
def migrated(empty_databases: Addresses) -> Addresses:
    """Databases of the test's own."""
    migrate(empty_databases)
    return empty_databases


async def test_many_may_take_one_name_at_once(migrated: Addresses, settings: Settings) -> None:
    own = with_changes(settings, **migrated)
    app = create_app(own, routers=discover_routers("app.api.v1"))
    async with app.router.lifespan_context(app), caller_of(app, headers=MEMBER) as caller:
        for body, statuses in (
            ({"name": "Garden"}, [201] * 10),
            ({"name": "Garden", "slug": "orchard"}, [201] + [409] * 9),
        ):
            answers = await asyncio.gather(*(caller.post(PROJECTS, json=body) for _ in range(10)))
            assert sorted(answer.status_code for answer in answers) == statuses


async def test_a_slug_is_taken_once(client: AsyncClient) -> None:
    taken = await create(client, slug="my-garden")
    other = await create(client, slug="orchard")
    path = f"{PROJECTS}/{other['id']}"
    for answer in (
        await client.post(PROJECTS, json={"name": "x", "slug": "my-garden"}),
        await client.patch(path, json={"slug": "my-garden"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "my-garden" in answer.json()["detail"]
    assert (await client.get(path)).json() == other
    found = (await client.get(PROJECTS, params={"slug": "my-garden"})).json()["items"]
    assert found == [taken]
    same = await client.patch(path, json={"slug": "orchard", "name": "Meadow"})
    assert (same.status_code, same.json()["slug"]) == (200, "orchard")


async def test_the_slug_of_a_deleted_project_is_free(client: AsyncClient) -> None:
    for _ in range(3):
        project = await create(client, slug="my-garden")
        assert (await client.delete(f"{PROJECTS}/{project['id']}")).status_code == 204


async def test_a_deleted_project_is_gone(client: AsyncClient) -> None:
    project = await create(client)
    path = f"{PROJECTS}/{project['id']}"
    assert (await client.delete(path)).status_code == 204
    for answer in (
        await client.get(path),
        await client.patch(path, json={"name": "x"}),
        await client.delete(path),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await client.get(PROJECTS)).json()["items"] == []


async def test_pages_are_complete_and_newest_first(client: AsyncClient) -> None:
    for number in range(5):
        await create(client, name=str(number))
    seen, cursor = [], ""
    while cursor is not None:
        answer = await client.get(
            PROJECTS, params={"limit": 2} | ({"cursor": cursor} if cursor else {})
        )
        seen += [project["name"] for project in answer.json()["items"]]
        cursor = answer.json()["next_cursor"]
    assert seen == ["4", "3", "2", "1", "0"]


async def test_lists_are_sorted_and_filtered(client: AsyncClient) -> None:
    for name in ("b", "a", "b"):
        await create(client, name=name)
    by_name = (await client.get(PROJECTS, params={"sort": "name"})).json()["items"]
    assert [project["name"] for project in by_name] == ["a", "b", "b"]
    only_b = (await client.get(PROJECTS, params={"name": "b"})).json()["items"]
    assert [project["name"] for project in only_b] == ["b", "b"]


async def test_change_only_what_was_seen(client: AsyncClient) -> None:
    project = await create(client)
    path = f"{PROJECTS}/{project['id']}"
    seen = (await client.get(path)).headers["etag"]
    changed = await client.patch(path, json={"name": "Orchard"}, headers={"If-Match": seen})
    assert (changed.status_code, changed.headers["etag"] != seen) == (200, True)
    for answer in (
        await client.patch(path, json={"name": "Meadow"}, headers={"If-Match": seen}),
        await client.delete(path, headers={"If-Match": seen}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")
    assert (await client.get(path)).json()["name"] == "Orchard"


async def test_a_page_may_end_at_the_longest_name(client: AsyncClient) -> None:
    for _ in range(2):
        await create(client, name="\U0001f600" * 200)
    first = (await client.get(PROJECTS, params={"sort": "name", "limit": 1})).json()
    more = {"sort": "name", "cursor": first["next_cursor"]}
    assert len((await client.get(PROJECTS, params=more)).json()["items"]) == 1


async def test_a_row_that_comes_meanwhile_moves_no_page(client: AsyncClient) -> None:
    for number in range(3):
        await create(client, name=str(number))
    first = (await client.get(PROJECTS, params={"limit": 2})).json()
    await create(client, name="late")
    second = (await client.get(PROJECTS, params={"cursor": first["next_cursor"]})).json()
    assert [project["name"] for project in second["items"]] == ["0"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "   "},
        {"name": None},
        {"name": 7},
        {"name": "x" * 201},
        {"name": "NUL \x00"},
        {"name": "x", "slug": ""},
        {"name": "x", "slug": "No Slug"},
        {"name": "x", "slug": "a--b"},
        {"name": "x", "slug": "a" * 64},
        {"name": "x", "unknown": 1},
        {"name": "x", "id": UNKNOWN},
        [],
    ],
)
async def test_bad_bodies_store_nothing(client: AsyncClient, body: object) -> None:
    answer = await client.post(PROJECTS, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert (await client.get(PROJECTS)).json()["items"] == []


async def test_a_body_of_10_mb_stores_nothing(client: AsyncClient) -> None:
    answer = await client.post(PROJECTS, json={"name": "x", "description": "x" * 10_000_000})
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert (await client.get(PROJECTS)).json()["items"] == []


@pytest.mark.parametrize(
    "body", [{"name": None}, {"name": ""}, {"slug": None}, {"deleted_at": None}]
)
async def test_bad_changes_change_nothing(client: AsyncClient, body: object) -> None:
    project = await create(client)
    path = f"{PROJECTS}/{project['id']}"
    assert (await client.patch(path, json=body)).status_code == 422
    assert (await client.get(path)).json() == project


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=0", 422),
        ("limit=1000000", 422),
        ("limit=x", 422),
        ("cursor=made-up", 400),
        ("sort=version", 422),
        ("name=%00", 422),
        ("slug=%00", 422),
    ],
)
async def test_bad_pages(client: AsyncClient, query: str, status: int) -> None:
    assert (await client.get(f"{PROJECTS}?{query}")).status_code == status


@pytest.mark.parametrize(("identifier", "status"), [(UNKNOWN, 404), ("x", 422), ("%00", 422)])
async def test_unknown_projects(client: AsyncClient, identifier: str, status: int) -> None:
    assert (await client.get(f"{PROJECTS}/{identifier}")).status_code == status


async def test_a_request_that_is_repeated_starts_one_project(client: AsyncClient) -> None:
    headers = {"Idempotency-Key": "3b0f2c"}
    answers = [await client.post(PROJECTS, json={"name": "A"}, headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert len((await client.get(PROJECTS)).json()["items"]) == 1
