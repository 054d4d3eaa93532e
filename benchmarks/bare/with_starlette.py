"""Starlette and the driver alone: as little as Python can do, and nothing is checked."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import jwt
import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uuid_utils import compat

from benchmarks.bare.tokens import claims_of

COLUMNS = "id, name, slug, description, created_at, updated_at"
LIST = f"SELECT {COLUMNS} FROM projects WHERE deleted_at IS NULL ORDER BY id DESC LIMIT $1"  # noqa: S608
READ = f"SELECT {COLUMNS} FROM projects WHERE id = $1 AND deleted_at IS NULL"  # noqa: S608
INSERT = f"INSERT INTO projects ({COLUMNS}, version) VALUES ($1, $2, $3, $4, $5, $6, 1)"  # noqa: S608


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
    """Hold the connections."""
    size = int(os.environ["DB_POOL_SIZE"])
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=size) as pool:
        yield {"pool": pool}


def answer(content: Any, status: int = 200) -> Response:
    """Write JSON."""
    body = orjson.dumps(content, default=str)
    return Response(body, status, media_type="application/json")


def claims(request: Request) -> dict[str, Any]:
    """Read the caller's token."""
    try:
        return claims_of(request.headers.get("authorization", "").removeprefix("Bearer "))
    except jwt.InvalidTokenError:
        raise HTTPException(401) from None


async def health(_: Request) -> Response:
    """Say that the process lives."""
    return answer({"status": "ok"})


async def get_me(request: Request) -> Response:
    """Say who asks."""
    told = claims(request)
    names = {"subject": "sub", "tenant": "tenant", "roles": "roles", "scopes": "scope"}
    return answer({name: told.get(claim) for name, claim in names.items()})


async def list_projects(request: Request) -> Response:
    """Read the newest projects."""
    claims(request)
    rows = await request.state.pool.fetch(LIST, int(request.query_params.get("limit", "20")))
    return answer({"items": list(map(dict, rows))})


async def get_project(request: Request) -> Response:
    """Read a project."""
    claims(request)
    row = await request.state.pool.fetchrow(READ, request.path_params["project_id"])
    return answer(dict(row)) if row else answer({}, 404)


async def create_project(request: Request) -> Response:
    """Store a project."""
    claims(request)
    body = orjson.loads(await request.body())
    now = datetime.now(UTC)
    project = {
        "id": compat.uuid7(),
        "name": body["name"],
        "slug": body["slug"],
        "description": body.get("description"),
        "created_at": now,
        "updated_at": now,
    }
    await request.state.pool.execute(INSERT, *project.values())
    return answer(project, 201)


app = Starlette(
    routes=[
        Route("/health", health),
        Route("/api/v1/auth/me", get_me),
        Route("/api/v1/projects", list_projects),
        Route("/api/v1/projects", create_project, methods=["POST"]),
        Route("/api/v1/projects/{project_id:uuid}", get_project),
    ],
    lifespan=lifespan,
)
