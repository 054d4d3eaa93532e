"""The command that rotates, on the service's own tables."""

import re
from pathlib import Path

import pytest
from sqlalchemy import text

from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.handle import Database
from app.core.database.layout import DATABASES
from app.core.encryption.__main__ import main
from tests.core.encryption.key_files import write_keys
from tests.core.migrating import as_environment, migrate
from tests.core.plugin import Addresses

SLEEP = {
    "postgresql": "SELECT pg_sleep(2)",
    "mysql": "SELECT SLEEP(2)",
    "sqlite": "SELECT 0",  # there is no limit
}


@pytest.fixture
def environment(
    empty_databases: Addresses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the command finds databases, and two keys."""
    path = write_keys(tmp_path / "master.key", 2, 1)
    for name, value in as_environment(empty_databases).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RENDER_MASTER_KEY_PATH", str(path))


@pytest.mark.usefixtures("environment")
def test_the_command(empty_databases: Addresses, capsys: pytest.CaptureFixture[str]) -> None:
    migrate(empty_databases)
    main(["rotate"])
    main(["status"])
    said = capsys.readouterr().out.splitlines()
    assert said.pop().startswith("not counted: what encryption.seal has made")
    assert len(said) == 2 * len(DATABASES)
    for line in said[: len(DATABASES)]:
        assert re.fullmatch(r"\w+: 0 rows encrypted, 0 changed meanwhile, 0 unreadable", line)
    for line in said[len(DATABASES) :]:
        assert re.fullmatch(r"\w+: v2 0, v1 0, other 0", line)


def looking_by(monkeypatch: pytest.MonkeyPatch, statement: str) -> None:
    """Let the command look through the databases by another statement."""

    async def look(database: Database) -> dict[str, int]:
        async with database.session_context() as session:
            await session.execute(text(statement))
        return {}

    monkeypatch.setattr("app.core.encryption.__main__.count_by_version", look)


@pytest.mark.usefixtures("environment")
def test_a_large_table_may_take_longer_than_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    module = f"app.core.database.flavours.{FLAVOUR.name}"
    monkeypatch.setattr(f"{module}.SILENCE_SECONDS", 0, raising=False)
    monkeypatch.setenv("DB_STATEMENT_TIMEOUT", "1")
    looking_by(monkeypatch, SLEEP[FLAVOUR.name])
    main(["status"])


@pytest.mark.usefixtures("environment")
def test_what_the_database_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    looking_by(monkeypatch, "SELECT 1 FROM nowhere")
    with pytest.raises(SystemExit, match=r"\Aencryption: .* run it again: .*nowhere.*\Z"):
        main(["status"])
