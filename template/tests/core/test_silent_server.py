"""A server that accepts and never answers: no request waits for it without end."""

import asyncio

import pytest
from fastapi import APIRouter
from httpx2 import AsyncClient
from sqlalchemy import make_url, text

from app.config import Settings
from app.core.application import create_app
from app.core.database.flavours.flavour import FLAVOUR
from tests.core.first_database import SessionDep, database
from tests.core.outages import Relay
from tests.core.plugin import Addresses, caller_of, with_changes

PATIENCE = 60


async def test_a_request_ends_and_so_does_the_check(
    empty_databases: Addresses, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"app.core.database.flavours.{FLAVOUR.name}.SILENCE_SECONDS", 0)
    router = APIRouter()

    @router.get("/ask")
    async def ask(session: SessionDep) -> int:
        return int(await session.scalar(text("SELECT 1")) or 0)

    relay = Relay(make_url(empty_databases[database.variable]))
    await relay.mend()
    addresses = empty_databases | {database.variable: relay.url}
    limited = with_changes(settings, **addresses, db_statement_timeout=1, db_connect_timeout=1)
    app = create_app(limited, routers=[router])
    async with (
        asyncio.timeout(PATIENCE),
        app.router.lifespan_context(app),
        caller_of(app) as caller,
    ):
        await _until_answered(caller)

        relay.flowing.clear()
        for _ in range(2):
            answer = await caller.get("/api/v1/ask")
            assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
        assert (await caller.get("/ready")).status_code == 503

        relay.flowing.set()
        await _until_answered(caller)
        await relay.cut()


async def _until_answered(caller: AsyncClient) -> None:
    """Ask until it answers: one second may be too little on a busy machine."""
    while (answer := await caller.get("/api/v1/ask")).status_code == 503:
        pass
    assert answer.json() == 1
