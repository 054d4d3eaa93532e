"""An application that the tests start as a process: `python -m tests.core.applications`."""

import asyncio

from fastapi import APIRouter, Request

from app.config import Settings
from app.core import context
from app.core.application import create_app
from app.core.auth import public
from app.core.server import serve
from app.core.settings import load_settings

router = APIRouter()
begun = asyncio.Event()


@router.get("/slow")
async def slow(request: Request) -> str:
    """Be at work when the process is told to stop, and a little longer."""
    begun.set()
    while not request.app.state.drain.draining:  # noqa: ASYNC110 - set by a signal handler
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    return "finished"


@router.get("/slow/begun")
async def slow_begun() -> None:
    """Answer as soon as somebody waits for `/slow`."""
    await begun.wait()


@router.get("/seen")
@public
async def seen(request: Request) -> dict[str, str | None]:
    """Tell what the service sees of its caller."""
    return {"client": context.client.get(), "url": str(request.url)}


@router.get("/fail")
async def fail() -> None:
    """Fail in a way that nobody expects, with a secret in the text."""
    raise RuntimeError("cannot reach postgresql://user:hunter2@10.1.2.3/name")


settings = load_settings(Settings)
app = create_app(settings, routers=[router])

if __name__ == "__main__":
    serve("tests.core.applications:app", settings)
