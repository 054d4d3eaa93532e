"""FastAPI with a session of SQLAlchemy for each request, as tutorials write it."""

import os
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import DateTime, String, Text, make_url, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from uuid_utils import compat

from benchmarks.bare.tokens import claims_of

engine = create_async_engine(
    make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+asyncpg"),
    pool_size=int(os.environ["DB_POOL_SIZE"]),
)
sessions = async_sessionmaker(engine, expire_on_commit=False)


def _now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """Base of the tables."""

    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012


class Project(Base):
    """A project."""

    __tablename__ = "projects"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=compat.uuid7)
    name: Mapped[str] = mapped_column(String(200))
    slug: Mapped[str] = mapped_column(String(63))
    description: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=_now)
    updated_at: Mapped[datetime] = mapped_column(default=_now, onupdate=_now)
    deleted_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)


class ProjectCreate(BaseModel):
    """A new project."""

    name: str = Field(min_length=1, max_length=200)
    slug: str = Field(max_length=63)
    description: str | None = None


class ProjectRead(BaseModel):
    """A project."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    name: str
    slug: str
    description: str | None
    created_at: datetime
    updated_at: datetime


class Projects(BaseModel):
    """A list of projects."""

    items: list[ProjectRead]


class Me(BaseModel):
    """Who asks."""

    subject: str
    tenant: str | None
    roles: list[str]
    scopes: list[str]


async def get_session() -> AsyncIterator[AsyncSession]:
    """Give a session to a request."""
    async with sessions() as session:
        yield session


async def get_claims(
    credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())],
) -> dict[str, Any]:
    """Read the caller's token."""
    try:
        return claims_of(credentials.credentials)
    except jwt.InvalidTokenError:
        raise HTTPException(401) from None


SessionDep = Annotated[AsyncSession, Depends(get_session)]
ClaimsDep = Annotated[dict[str, Any], Depends(get_claims)]

app = FastAPI()


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that the process lives."""
    return {"status": "ok"}


@app.get("/api/v1/auth/me")
async def get_me(claims: ClaimsDep) -> Me:
    """Say who asks."""
    return Me(
        subject=claims["sub"],
        tenant=claims.get("tenant"),
        roles=claims.get("roles", []),
        scopes=claims.get("scope", "").split(),
    )


@app.get("/api/v1/projects", response_model=Projects)
async def list_projects(_: ClaimsDep, session: SessionDep, limit: int = 20) -> dict[str, Any]:
    """Read the newest projects."""
    live = select(Project).where(Project.deleted_at.is_(None))
    found = await session.scalars(live.order_by(Project.id.desc()).limit(limit))
    return {"items": found.all()}


@app.get("/api/v1/projects/{project_id}", response_model=ProjectRead)
async def get_project(project_id: uuid.UUID, _: ClaimsDep, session: SessionDep) -> Project:
    """Read a project."""
    live = select(Project).where(Project.id == project_id, Project.deleted_at.is_(None))
    if (found := await session.scalar(live)) is None:
        raise HTTPException(404)
    return found


@app.post("/api/v1/projects", status_code=201, response_model=ProjectRead)
async def create_project(body: ProjectCreate, _: ClaimsDep, session: SessionDep) -> Project:
    """Store a project."""
    project = Project(**body.model_dump())
    session.add(project)
    await session.commit()
    return project
