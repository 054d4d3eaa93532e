"""The repository base, on a table of these tests' own."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
from fastapi import APIRouter, Depends, FastAPI, Response
from httpx2 import AsyncClient
from sqlalchemy import String, event
from sqlalchemy.orm import Mapped, mapped_column

from app.config import Settings
from app.core.application import create_app
from app.core.database import Repository
from app.core.database.base import SoftDeleteMixin, VersionMixin
from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.pagination import PageDep, PageRequest, Rows
from app.core.database.preconditions import PreconditionDep, etag
from app.core.database.tables import make_tables
from app.core.errors import NotFoundError, ValidationFailedError
from tests.core.first_database import ExtraBase, ExtraModel, SessionDep, database
from tests.core.plugin import Addresses, caller_of, with_changes

WRITERS = 100
DEEP = 500
"""How many rows stand before a page."""


class Item(SoftDeleteMixin, VersionMixin, ExtraModel):
    """Something that can be counted, ordered and changed."""

    __tablename__ = "items_of_the_tests"

    name: Mapped[str] = mapped_column(String(50), index=True)
    amount: Mapped[int] = mapped_column(default=0)


class Mark(ExtraModel):
    """Something that is removed when it is deleted."""

    __tablename__ = "marks_of_the_tests"


class ItemRepository(Repository[Item]):
    model = Item
    sortable = ("amount", "created_at", "id", "name")
    filterable = ("name",)


class MarkRepository(Repository[Mark]):
    model = Mark


async def get_items(session: SessionDep) -> ItemRepository:
    return ItemRepository(session)


ItemsDep = Annotated[ItemRepository, Depends(get_items)]
router = APIRouter()


@router.post("/items/{identifier}/increment")
async def increment(
    identifier: UUID, items: ItemsDep, precondition: PreconditionDep, response: Response
) -> int:
    item = await items.get(identifier)
    precondition.check(item)
    await items.update(item, {"amount": item.amount + 1})
    response.headers["ETag"] = etag(item)
    return item.amount


@router.get("/items")
async def list_items(items: ItemsDep, page: PageDep, name: str | None = None) -> list[str]:
    rows = await items.page(page, filters={"name": name})
    return [item.name for item in rows.items]


@pytest.fixture
async def service(empty_databases: Addresses, settings: Settings) -> AsyncIterator[FastAPI]:
    """An application that really commits, on a database of its own, and has time to."""
    patient = with_changes(settings, **empty_databases, db_pool_timeout=60)
    app = create_app(patient, routers=[router])
    async with app.router.lifespan_context(app):
        await make_tables(database, ExtraBase.metadata)
        yield app


@pytest.fixture
async def items(service: FastAPI) -> AsyncIterator[ItemRepository]:
    async with database.session_context() as session:
        yield ItemRepository(session)


@pytest.fixture
async def caller(service: FastAPI) -> AsyncIterator[AsyncClient]:
    async with caller_of(service) as caller:
        yield caller


async def store(*names: str) -> list[Item]:
    async with database.session_context() as session:
        new = [Item(name=name, amount=number) for number, name in enumerate(names)]
        return await ItemRepository(session).add_all(new)


async def test_several_rows_at_once(items: ItemRepository) -> None:
    stored = await items.add_all([Item(name="a"), Item(name="b")])
    assert [item.version for item in stored] == [1, 1]
    assert await items.count() == 2
    assert await items.count(Item.name == "a") == 1
    assert await items.exists(Item.name == "b")
    assert not await items.exists(Item.name == "c")


async def test_a_new_row_knows_its_id_and_reads_nothing_back(items: ItemRepository) -> None:
    new, named = Item(name="a"), Item(name="b", id=uuid4())
    known, said = (new.id, named.id), list[str]()

    @event.listens_for(database.engine.sync_engine, "before_cursor_execute")
    def listen(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        said.append(statement)

    await items.add_all([new, named])
    assert (new.id, named.id) == known
    [insert] = [statement for statement in said if statement.startswith("INSERT")]
    assert "RETURNING" not in insert


async def test_a_time_of_any_zone_comes_back_in_utc(items: ItemRepository) -> None:
    moment = datetime(2026, 3, 1, 1, 30, 0, 123456, timezone(timedelta(hours=5, minutes=30)))
    item = await items.add(Item(name="a", created_at=moment))
    await items.session.refresh(item)
    assert (item.created_at, item.created_at.tzinfo) == (moment, UTC)


async def test_a_deleted_row_is_not_found_until_it_is_restored(items: ItemRepository) -> None:
    item = await items.add(Item(name="a"))
    await items.delete(item)
    assert (await items.count(), await items.exists()) == (0, False)
    assert [each async for each in items.stream()] == []
    with pytest.raises(NotFoundError):
        await items.get(item.id)

    found = await items.get(item.id, with_deleted=True)
    assert found.deleted_at is not None
    await items.restore(found)
    assert (await items.get(item.id)).deleted_at is None


async def test_a_row_can_be_removed_for_ever(items: ItemRepository) -> None:
    item = await items.add(Item(name="a"))
    await items.delete_for_ever(item)
    with pytest.raises(NotFoundError):
        await items.get(item.id, with_deleted=True)


async def test_what_has_no_mark_is_removed(items: ItemRepository) -> None:
    marks = MarkRepository(items.session)
    mark = await marks.add(Mark())
    with pytest.raises(TypeError, match="not marked"):
        await marks.restore(mark)
    await marks.delete(mark)
    assert await marks.count() == 0


async def test_many_rows_are_streamed_in_batches(items: ItemRepository) -> None:
    await items.add_all([Item(name=str(number)) for number in range(25)])
    items.session.expunge_all()
    seen = [item.name async for item in items.stream(batch=10)]
    assert sorted(seen, key=int) == [str(number) for number in range(25)]


@pytest.mark.parametrize("has_read", [False, True])
async def test_a_session_that_only_reads_streams_too(service: FastAPI, *, has_read: bool) -> None:
    stored = await store(*map(str, range(25)))
    async with database.read_session_context() as session:
        items = ItemRepository(session)
        read = [await items.get(stored[0].id)] if has_read else []
        for _ in range(2):
            seen = [item.name async for item in items.stream(batch=10)]
            assert sorted(seen, key=int) == [str(number) for number in range(25)]
        assert [item.name for item in read] == ["0"] * has_read
        assert all(item in session for item in read)
    await store("who comes next may write")


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        (None, "edcba"),
        ("name", "abcde"),
        ("-name", "edcba"),
        ("created_at", "abcde"),
        ("-amount", "edcba"),
        ("id", "abcde"),
    ],
)
async def test_pages_follow_any_order(
    items: ItemRepository, sort: str | None, expected: str
) -> None:
    for number, name in enumerate("abcde"):
        await items.add(Item(name=name, amount=number // 2))
    seen, cursor = "", None
    while True:
        rows: Rows[Item] = await items.page(PageRequest(2, cursor, sort, b"secret"))
        seen += "".join(item.name for item in rows.items)
        cursor = rows.next_cursor
        if cursor is None:
            break
    assert seen == expected


ENTERS_INDEX = {
    "postgresql": ("EXPLAIN", r"Index Cond: \(\(name\)::text [<>]= "),
    "mysql": ("EXPLAIN", r"'range', '[^']+', 'ix_items_of_the_tests_name'"),
    "sqlite": ("EXPLAIN QUERY PLAN", r"SEARCH items_of_the_tests USING INDEX \w+_name \(name[<>]"),
}


@pytest.mark.parametrize("sort", ["name", "-name"])
async def test_a_deep_page_is_entered_by_an_index(items: ItemRepository, sort: str) -> None:
    """What stands before it is not read."""
    await items.add_all([Item(name=f"{number:05}") for number in range(DEEP * 2)])
    before = await items.page(PageRequest(DEEP, None, sort, b"secret"))
    said: list[tuple[str, Any]] = []

    @event.listens_for(database.engine.sync_engine, "before_cursor_execute")
    def listen(_connection: object, _cursor: object, sql: str, values: Any, *_: object) -> None:
        said.append((sql, values))

    await items.page(PageRequest(2, before.next_cursor, sort, b"secret"))
    [(sql, values)] = said
    explain, expected = ENTERS_INDEX[FLAVOUR.name]
    connection = await items.session.connection()
    if FLAVOUR.name == "postgresql":  # nobody has counted these rows yet, so it would guess
        await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        await connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
    plan = (await connection.exec_driver_sql(f"{explain} {sql}", values)).all()
    assert re.search(expected, "\n".join(map(str, plan))), plan


async def test_a_foreign_sort_or_filter_is_refused(items: ItemRepository) -> None:
    for sort in ("version", "-deleted_at", "", "-", "name;DROP TABLE", "__class__"):
        with pytest.raises(ValidationFailedError, match="sort must be one of"):
            await items.page(PageRequest(2, None, sort, b"secret"))
    with pytest.raises(ValueError, match="does not filter by"):
        await items.page(PageRequest(2, None, None, b"secret"), filters={"amount": 1})


async def test_filters_and_orders_have_cursors_of_their_own(items: ItemRepository) -> None:
    await items.add_all([Item(name=name) for name in "aab"])
    first = await items.page(PageRequest(1, None, None, b"secret"), filters={"name": "a"})
    assert [item.name for item in first.items] == ["a"]
    for sort, filters in [("name", {"name": "a"}), (None, {"name": "b"}), (None, {})]:
        with pytest.raises(Exception, match="does not belong to this list"):
            await items.page(PageRequest(1, first.next_cursor, sort, b"secret"), filters=filters)


async def test_of_many_writers_none_is_lost(service: FastAPI, caller: AsyncClient) -> None:
    (item,) = await store("contested")
    path = f"/api/v1/items/{item.id}/increment"
    answers = await asyncio.gather(*(caller.post(path) for _ in range(WRITERS)))
    statuses = [answer.status_code for answer in answers]
    won = statuses.count(200)
    assert won >= 1
    assert won + statuses.count(409) == WRITERS
    async with database.session_context() as session:
        assert (await ItemRepository(session).get(item.id)).amount == won


async def test_a_locked_row_holds_off_who_relies_on_it(service: FastAPI) -> None:
    (item,) = await store("locked")
    async with database.session_context() as session:
        items = ItemRepository(session)
        locked = await items.get(item.id, lock="change")
        other = asyncio.create_task(rely_on(item.id))
        done, _ = await asyncio.wait([other], timeout=0.5)
        assert not done
        await items.delete(locked)
    with pytest.raises(NotFoundError):
        await other


async def rely_on(identifier: UUID) -> None:
    async with database.session_context() as session:
        await ItemRepository(session).get(identifier, lock="keep")


async def test_only_what_was_seen_is_changed(service: FastAPI, caller: AsyncClient) -> None:
    (item,) = await store("seen")
    path = f"/api/v1/items/{item.id}/increment"
    first = await caller.post(path, headers={"If-Match": '"1"'})
    assert (first.status_code, first.headers["etag"]) == (200, '"2"')
    for stale in ('"1"', 'W/"2"', '"x"', "2", '"1", "3"'):
        answer = await caller.post(path, headers={"If-Match": stale})
        assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")
    for empty in ("", " , "):
        assert (await caller.post(path, headers={"If-Match": empty})).status_code == 400
    for current in ('"2"', '"1", "3"', "*"):
        assert (await caller.post(path, headers={"If-Match": current})).status_code == 200


async def test_of_many_writers_who_saw_the_same_one_wins(
    service: FastAPI, caller: AsyncClient
) -> None:
    (item,) = await store("contested")
    path = f"/api/v1/items/{item.id}/increment"
    headers = {"If-Match": '"1"'}
    answers = await asyncio.gather(*(caller.post(path, headers=headers) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 19]


async def test_an_unknown_row_is_not_found(caller: AsyncClient) -> None:
    assert (await caller.post(f"/api/v1/items/{uuid4()}/increment")).status_code == 404
