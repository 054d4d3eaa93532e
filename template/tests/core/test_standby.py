"""A standby ends what is read when it holds up what comes from the main server."""

import pytest
from fastapi import APIRouter
from sqlalchemy import text

from app.config import Settings
from app.core.application import create_app
from tests.core.first_database import ReadSessionDep, database
from tests.core.plugin import Addresses, caller_of, with_changes

router = APIRouter()


@router.get("/reading")
async def reading(session: ReadSessionDep) -> None:
    await session.execute(text("SELECT read_as_of_a_standby()"))


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_what_a_standby_ends_may_be_asked_again(
    empty_databases: Addresses, settings: Settings, state: str
) -> None:
    """There is no standby here: a function says what one would."""
    replica = {database.replica_variable: empty_databases[database.variable]}
    app = create_app(with_changes(settings, **empty_databases, **replica), routers=[router])
    function = f"""
        CREATE FUNCTION read_as_of_a_standby() RETURNS int LANGUAGE plpgsql AS $$
        BEGIN
            RAISE 'canceling statement due to conflict with recovery' USING ERRCODE = '{state}';
        END $$
    """
    async with app.router.lifespan_context(app), caller_of(app) as caller:
        async with database.migrator.begin() as connection:
            await connection.execute(text(function))
        answer = await caller.get("/api/v1/reading")
    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
    assert answer.headers["retry-after"]
