"""Fixtures of the tests of metrics."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import APIRouter, FastAPI
from httpx2 import AsyncClient

from app.config import Settings
from app.core.application import create_app
from app.core.auth import public
from app.core.errors import DeadlineExceededError
from tests.core.plugin import caller_of

router = APIRouter()


@router.get("/things/{thing}")
@public
async def get_thing(thing: str) -> str:
    """Answer, or fail, as the name says."""
    if thing == "broken":
        raise RuntimeError(thing)
    if thing == "late":
        raise DeadlineExceededError("It did not answer in time")
    return thing


@router.get("/waiting")
@public
async def wait() -> None:
    """Never answer."""
    await asyncio.Event().wait()


@pytest.fixture
async def measured(settings: Settings) -> AsyncIterator[FastAPI]:
    """An application that has counted nothing yet."""
    app = create_app(settings, routers=[router])
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def caller(measured: FastAPI) -> AsyncIterator[AsyncClient]:
    async with caller_of(measured, headers={}) as caller:
        yield caller
