import asyncio
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from app.config import Settings
from app.core.application import create_app
from app.core.database import Base, revision
from app.core.database.engine import build_engine
from app.core.database.flavours.flavour import FLAVOUR
from app.core.discovery import import_submodules
from tests.core.migrating import alembic, environment, migrate
from tests.core.plugin import caller_of, with_changes

AnswerT = TypeVar("AnswerT")
MIGRATORS = 5
VERSION_TABLE = {"alembic_version"}
COMMANDS = """
from alembic import command
from alembic.config import Config

config = Config("alembic.ini")
command.upgrade(config, "head")
command.revision(config, "Add widgets", autogenerate=True)
command.upgrade(config, "head")
command.check(config)
command.downgrade(config, "-1")
"""
NEW_MODEL = '''
from datetime import datetime

from sqlalchemy.orm import Mapped

from app.core.database import Model, SoftDeleteMixin


class Widget(SoftDeleteMixin, Model):
    """A model that a user has just written."""

    __tablename__ = "widgets"

    seen_at: Mapped[datetime | None]
    size: Mapped[int]
'''


def look(settings: Settings, url: str, question: Callable[[Connection], AnswerT]) -> AnswerT:
    """Ask something of a database over a connection of its own."""

    async def ask() -> AnswerT:
        other = with_changes(settings, database_url=url)
        engine = build_engine(other.async_database_url, other)
        async with engine.connect() as connection:
            answer = await connection.run_sync(question)
        await engine.dispose()
        return answer

    return asyncio.run(ask())


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def expected_tables() -> set[str]:
    import_submodules("app.models")
    return {*Base.metadata.tables, *VERSION_TABLE}


def scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(Config("alembic.ini"))


def test_there_is_one_head() -> None:
    assert len(scripts().get_heads()) <= 1


def test_up_down_and_up_again(empty_database: str, settings: Settings) -> None:
    migrate(empty_database)
    assert look(settings, empty_database, tables) == expected_tables()
    alembic(empty_database, lambda config: command.downgrade(config, "base"))
    assert look(settings, empty_database, tables) == VERSION_TABLE
    migrate(empty_database)
    assert look(settings, empty_database, tables) == expected_tables()


def test_the_migrations_make_what_the_models_say(database_url: str) -> None:
    alembic(database_url, command.check)


def test_several_migrators_at_once(empty_database: str, settings: Settings) -> None:
    with environment(DATABASE_URL=empty_database, LOG_LEVEL="INFO"):
        migrators = [start_migrator() for _ in range(MIGRATORS)]
        output = [migrator.communicate(timeout=60)[0] for migrator in migrators]
    assert [migrator.returncode for migrator in migrators] == [0] * MIGRATORS, output
    steps = len(list(scripts().walk_revisions()))
    assert sum(text.count("Running upgrade") for text in output) == steps
    assert look(settings, empty_database, tables) == expected_tables()


def start_migrator() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_migrator_waits_for_another_only_so_long(empty_database: str, settings: Settings) -> None:
    with (
        lock_held(settings, empty_database),
        environment(DB_MIGRATION_LOCK_TIMEOUT="1"),
        pytest.raises(TimeoutError, match="another migration"),
    ):
        migrate(empty_database)
    migrate(empty_database)


@contextmanager
def lock_held(settings: Settings, url: str) -> Iterator[None]:
    """Another migrator is at work."""
    held, release = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        with FLAVOUR.migration_lock(connection, 5, 5), connection.begin():
            held.set()
            release.wait(30)

    other = threading.Thread(target=look, args=[settings, url, hold])
    other.start()
    assert held.wait(30)
    try:
        yield
    finally:
        release.set()
        other.join()


@pytest.mark.parametrize("migrated", [True, False])
def test_ready_follows_the_revision(
    empty_database: str, settings: Settings, *, migrated: bool
) -> None:
    if migrated:
        migrate(empty_database)
    states = asyncio.run(readiness(with_changes(settings, database_url=empty_database)))
    up = migrated or not scripts().get_heads()
    assert states == {"database": "up", "migrations": "up" if up else "down"}


async def readiness(settings: Settings) -> dict[str, str]:
    service = create_app(settings)
    async with service.router.lifespan_context(service), caller_of(service) as caller:
        components = (await caller.get("/ready")).json()["components"]
    return {name: each["status"] for name, each in components.items()}


@pytest.mark.parametrize(
    ("applied", "state"),
    [({"a"}, "down"), ({"b"}, "up"), ({"newer than this code"}, "up"), (set(), "down")],
)
async def test_only_a_database_that_is_behind_is_not_ready(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, applied: set[str], state: str
) -> None:
    monkeypatch.setattr(revision, "_revisions", lambda: (frozenset("b"), frozenset("ab")))
    monkeypatch.setattr(revision, "_applied", lambda _: frozenset(applied))
    assert (await readiness(settings))["migrations"] == state


def test_a_new_model_gets_a_clean_migration(tmp_path: Path, empty_database: str) -> None:
    copy = tmp_path / "service"
    shutil.copytree(".", copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    (copy / "app/models/widget.py").write_text(NEW_MODEL)
    with environment(DATABASE_URL=empty_database):
        run(copy, "-c", COMMANDS)
    run(copy, "-m", "ruff", "check", "migrations")
    run(copy, "-m", "ruff", "format", "--check", "migrations")


def run(directory: Path, *arguments: str) -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, *arguments],
        cwd=directory,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
