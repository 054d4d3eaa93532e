"""A request that comes twice with one key is done once."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Annotated
from uuid import uuid4

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from httpx2 import ASGITransport, AsyncClient
from sqlalchemy import String, event, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, Session, mapped_column
from starlette.types import Message, Receive, Scope, Send

from app.config import Settings
from app.core.application import create_app
from app.core.auth import public
from app.core.database import after_commit, after_rollback, utc_now
from app.core.database.idempotency import IdempotencyKeys, once
from app.core.database.tables import make_tables
from app.core.errors import ConflictError
from tests.core.first_database import ExtraBase, ExtraModel, SessionDep, database
from tests.core.issuing.base import Issuer, bearer
from tests.core.plugin import Addresses, caller_of, with_changes

PATH = "/api/v1/orders"
KEY = {"Idempotency-Key": "a-key"}
KEYS = IdempotencyKeys(database, name="idempotency_keys_of_the_tests", metadata=ExtraBase.metadata)


class Order(ExtraModel):
    """Something that must not be made twice."""

    __tablename__ = "orders_of_the_tests"

    text: Mapped[str] = mapped_column(String(50))


class Pause:
    """Holds the first request up in the middle."""

    def __init__(self) -> None:
        self.reached, self.over = asyncio.Event(), asyncio.Event()
        self.tickets = 0
        self.told: list[str] = []

    async def tell(self, what: str) -> None:
        self.told.append(what)

    async def take(self) -> None:
        if not self.reached.is_set():
            self.reached.set()
            await self.over.wait()


@pytest.fixture
def pause() -> Pause:
    return Pause()


@pytest.fixture
async def service(
    empty_databases: Addresses, settings: Settings, pause: Pause
) -> AsyncIterator[FastAPI]:
    """An application that really commits, on a database of its own."""
    router = APIRouter(route_class=once(KEYS))

    async def store(request: Request, session: SessionDep, response: Response) -> str:
        text = (await request.body()).decode()
        session.add(Order(text=text))
        await session.flush()
        response.headers["Location"] = f"{PATH}/{text}"
        return text

    @router.post("/orders/slow")
    async def slow(session: SessionDep) -> str:
        await pause.take()
        session.add(Order(text="slow"))
        return "at last"

    @router.post("/orders/refused")
    async def refuse(session: SessionDep) -> None:
        session.add(Order(text="refused"))
        await session.flush()
        raise ConflictError("Changed my mind")

    @router.post("/orders/answered")
    async def answer_refusal(session: SessionDep) -> Response:
        session.add(Order(text="answered"))
        await session.flush()
        after_commit(session, partial(pause.tell, "committed"))
        after_rollback(session, partial(pause.tell, "rolled back"))
        return Response("no", status_code=400, headers={"X-Reason": "full"})

    async def take_ticket() -> None:
        pause.tickets += 1

    @router.post("/orders/counted")
    async def count(session: SessionDep, _: Annotated[None, Depends(take_ticket)]) -> int:
        return pause.tickets

    @router.post("/orders/open")
    @public
    async def order_openly(session: SessionDep) -> str:
        session.add(Order(text="open"))
        return "open"

    @router.post("/orders/streamed", response_class=StreamingResponse)
    async def stream(session: SessionDep) -> Response:
        session.add(Order(text="streamed"))
        return StreamingResponse(iter(["bit ", "by ", "bit"]))

    router.post("/orders", status_code=201)(store)
    router.post("/others", status_code=201)(store)
    router.put("/orders")(store)
    app = create_app(with_changes(settings, **empty_databases), routers=[router])
    async with app.router.lifespan_context(app):
        await make_tables(database, ExtraBase.metadata)
        yield app


@pytest.fixture
async def caller(service: FastAPI) -> AsyncIterator[AsyncClient]:
    async with caller_of(service) as caller:
        yield caller


async def test_what_an_endpoint_depends_on_is_not_asked_again(caller: AsyncClient) -> None:
    for _ in range(2):
        answer = await caller.post(f"{PATH}/counted", headers=KEY)
        assert (answer.status_code, answer.json()) == (200, 1)
    assert (await caller.post(f"{PATH}/counted")).json() == 2


async def orders() -> int:
    async with database.read_session_context() as session:
        return int(await session.scalar(select(func.count()).select_from(Order)) or 0)


async def age(by: timedelta) -> None:
    """Make all keys older than they are."""
    async with database.session_context() as session:
        await session.execute(update(KEYS.table).values(expires_at=utc_now() - by))


async def test_the_second_time_the_first_answer_comes_again(caller: AsyncClient) -> None:
    first = await caller.post(PATH, content="tea", headers=KEY)
    again = await caller.post(PATH, content="tea", headers=KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    for header in ("location", "content-type", "content-length"):
        assert again.headers[header] == first.headers[header]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert await orders() == 1


async def test_without_a_key_everything_is_done_each_time(caller: AsyncClient) -> None:
    for _ in range(2):
        assert (await caller.post(PATH, content="tea")).status_code == 201
    assert await orders() == 2


async def test_another_key_or_route_or_method_is_another_request(caller: AsyncClient) -> None:
    other = {"Idempotency-Key": "another-key"}
    await caller.post(PATH, content="tea", headers=KEY)
    await caller.post(PATH, content="tea", headers=other)
    await caller.post("/api/v1/others", content="tea", headers=KEY)
    await caller.put(PATH, content="tea", headers=KEY)
    assert await orders() == 4


async def test_another_body_is_refused(caller: AsyncClient) -> None:
    await caller.post(PATH, content="tea", headers=KEY)
    for answer in (
        await caller.post(PATH, content="coffee", headers=KEY),
        await caller.post(f"{PATH}?sugar=1", content="tea", headers=KEY),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert await orders() == 1


async def test_keys_are_each_caller_s_own(
    service: FastAPI, caller: AsyncClient, issuer: Issuer
) -> None:
    await caller.post(PATH, content="tea", headers=KEY)
    async with caller_of(service, "192.0.2.1", bearer(issuer.token("another"))) as other:
        answer = await other.post(PATH, content="tea", headers=KEY)
    assert "idempotent-replayed" not in answer.headers
    assert await orders() == 2


async def test_strangers_are_told_apart_by_their_addresses(service: FastAPI) -> None:
    """For IPv6 by their networks: a caller commands all addresses of one."""
    replayed = []
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "2001:db8::1", "2001:db8::2"):
        async with caller_of(service, address, {}) as stranger:
            answer = await stranger.post("/api/v1/orders/open", headers=KEY)
        assert answer.status_code == 200
        replayed.append("idempotent-replayed" in answer.headers)
    assert replayed == [False, False, True, False, True]
    assert await orders() == 3


async def test_a_caller_who_leaves_amid_the_body_is_no_failure(
    service: FastAPI, caller: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"half of it"

    async def leave_amid(scope: Scope, receive: Receive, send: Send) -> None:
        async def leave() -> Message:
            message = await receive()
            return message if message.get("body") else {"type": "http.disconnect"}

        await service(scope, leave, send)

    async with AsyncClient(
        transport=ASGITransport(leave_amid), base_url=caller.base_url, headers=caller.headers
    ) as leaving:
        answer = await leaving.post(PATH, content=body(), headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert await orders() == 0


async def test_an_answer_that_is_streamed_takes_no_key(caller: AsyncClient) -> None:
    refused = await caller.post(f"{PATH}/streamed", headers=KEY)
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_unsupported")
    assert await orders() == 0
    answer = await caller.post(f"{PATH}/streamed")
    assert (answer.status_code, answer.text) == (200, "bit by bit")
    assert await orders() == 1


async def test_the_same_at_the_same_time_is_done_once(caller: AsyncClient, pause: Pause) -> None:
    first = asyncio.create_task(caller.post(f"{PATH}/slow", headers=KEY))
    await pause.reached.wait()
    answer = await caller.post(f"{PATH}/slow", headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (409, "request_in_progress")
    assert answer.headers["retry-after"] == "1"
    pause.over.set()
    assert (await first).json() == "at last"
    again = await caller.post(f"{PATH}/slow", headers=KEY)
    assert (again.json(), again.headers["idempotent-replayed"]) == ("at last", "true")


async def test_many_at_once_store_one(caller: AsyncClient) -> None:
    answers = await asyncio.gather(
        *(caller.post(PATH, content="tea", headers=KEY) for _ in range(10))
    )
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert await orders() == 1


@pytest.mark.parametrize(("path", "status"), [("refused", 409), ("answered", 400)])
async def test_what_was_refused_may_be_tried_again(
    caller: AsyncClient, path: str, status: int
) -> None:
    for _ in range(2):
        answer = await caller.post(f"{PATH}/{path}", headers=KEY)
        assert answer.status_code == status
        assert answer.json()["code"] == "conflict" if status == 409 else answer.text == "no"
        assert "idempotent-replayed" not in answer.headers
    assert await orders() == 0


async def test_a_refusal_that_is_returned_undoes_what_was_done(
    caller: AsyncClient, pause: Pause
) -> None:
    answer = await caller.post(f"{PATH}/answered", headers=KEY)
    assert (answer.status_code, answer.headers["x-reason"]) == (400, "full")
    assert pause.told == ["rolled back"]
    assert await orders() == 0


async def test_an_answer_that_was_never_committed_is_not_given(caller: AsyncClient) -> None:
    def mark(session: Session, _: object) -> None:
        session.info["orders"] = True

    def fail(session: Session) -> None:
        if "orders" in session.info:
            raise RuntimeError("the commit fails")

    event.listen(Session, "after_flush", mark)
    event.listen(Session, "before_commit", fail)
    try:
        assert (await caller.post(PATH, content="tea", headers=KEY)).status_code == 500
    finally:
        event.remove(Session, "after_flush", mark)
        event.remove(Session, "before_commit", fail)
    assert (await caller.post(PATH, content="tea", headers=KEY)).status_code == 201
    assert await orders() == 1


async def test_who_takes_too_long_loses_the_key_and_stores_nothing(
    caller: AsyncClient, pause: Pause
) -> None:
    """As after a crash: the key can be used again, and only one of them is ever stored."""
    first = asyncio.create_task(caller.post(f"{PATH}/slow", headers=KEY))
    await pause.reached.wait()
    await age(timedelta(seconds=1))
    second = await caller.post(f"{PATH}/slow", headers=KEY)
    assert (second.json(), "idempotent-replayed" in second.headers) == ("at last", False)
    pause.over.set()
    answer = await first
    assert (answer.status_code, answer.json()["code"]) == (409, "request_in_progress")
    assert await orders() == 1
    again = await caller.post(f"{PATH}/slow", headers=KEY)
    assert again.headers["idempotent-replayed"] == "true"


async def test_a_key_does_not_live_for_ever(caller: AsyncClient) -> None:
    await caller.post(PATH, content="tea", headers=KEY)
    await age(timedelta(seconds=1))
    answer = await caller.post(PATH, content="coffee", headers=KEY)
    assert (answer.status_code, answer.json()) == (201, "coffee")
    assert await orders() == 2


async def test_of_two_who_find_an_old_key_one_takes_it(
    caller: AsyncClient, pause: Pause, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause.over.set()
    await caller.post(f"{PATH}/slow", headers=KEY)
    await age(timedelta(seconds=1))
    pause.reached.clear()
    find = KEYS._find

    async def find_as_it_was(session: AsyncSession, identifier: str) -> SimpleNamespace:
        """As if another request had taken the key since."""
        found = await find(session, identifier)
        assert found is not None
        return SimpleNamespace(**{**found._mapping, "attempt": uuid4()})

    monkeypatch.setattr(KEYS, "_find", find_as_it_was)
    answer = await caller.post(f"{PATH}/slow", headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (409, "request_in_progress")
    assert not pause.reached.is_set()  # nothing was even begun


async def test_old_keys_are_removed(caller: AsyncClient) -> None:
    for number in range(3):
        await caller.post(PATH, content="tea", headers={"Idempotency-Key": str(number)})
    await age(timedelta(days=2))
    await caller.post(PATH, content="tea", headers=KEY)
    async with database.read_session_context() as session:
        assert await session.scalar(select(func.count()).select_from(KEYS.table)) == 1


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_that_is_none_is_refused(caller: AsyncClient, key: str) -> None:
    answer = await caller.post(PATH, content="tea", headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
