"""Saved, lost and restored, on the real server."""

import argparse
import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Row, make_url, text

from app.config import Settings
from app.core.backup.__main__ import run
from app.core.backup.flavour import SUFFIX
from app.core.backup.target import BackupError, Target
from app.core.database.engine import build_engine
from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.layout import DATABASES
from app.core.database.settings import driver_url
from tests.core.migrating import as_environment, environment, migrate
from tests.core.plugin import Addresses, NewDatabases, with_changes

FILLED = (
    "CREATE TABLE kept (id INTEGER PRIMARY KEY, said VARCHAR(50) NOT NULL)",
    "INSERT INTO kept (id, said) VALUES (1, 'größer'), (2, 'it''s 🐘'), (3, '')",
)
SPOILT = ("DELETE FROM kept WHERE id = 2", "UPDATE kept SET said = 'wrong' WHERE id = 1")
READ = "SELECT id, said FROM kept ORDER BY id"


def execute(
    settings: Settings, addresses: Addresses, statements: Sequence[str]
) -> list[list[Row[Any]]]:
    """Run statements on each database; give the rows that each has at last."""
    given = with_changes(settings, **addresses)

    async def ask() -> list[list[Row[Any]]]:
        found = []
        for database in DATABASES:
            known = database.addresses(given)
            engine = build_engine(driver_url(known.migration or known.main), given)
            async with engine.begin() as connection:
                for statement in statements:
                    result = await connection.execute(text(statement))
                found.append(list(result.all()) if result.returns_rows else [])
            await engine.dispose()
        return found

    return asyncio.run(ask())


def backup(addresses: Addresses, action: str, directory: Path, *, replace: bool = False) -> None:
    """Do what `make backup` and `make restore` do."""
    given = argparse.Namespace(action=action, directory=directory, replace=replace, compose=False)
    with environment(**as_environment(addresses)):
        run(given)


@pytest.fixture
def saved(empty_databases: Addresses, settings: Settings, tmp_path: Path) -> Path:
    """A directory in which databases with some rows are saved."""
    migrate(empty_databases)
    execute(settings, empty_databases, FILLED)
    backup(empty_databases, "save", tmp_path / "saved")
    return tmp_path / "saved"


def test_what_was_spoilt_is_as_it_was(
    saved: Path, empty_databases: Addresses, settings: Settings
) -> None:
    before = execute(settings, empty_databases, [READ])
    assert [len(rows) for rows in before] == [3] * len(DATABASES)
    execute(settings, empty_databases, SPOILT)
    assert execute(settings, empty_databases, [READ]) != before
    backup(empty_databases, "restore", saved, replace=True)
    assert execute(settings, empty_databases, [READ]) == before


def test_what_was_lost_is_restored_and_can_be_saved_again(
    saved: Path, new_databases: NewDatabases, empty_databases: Addresses, settings: Settings
) -> None:
    before = execute(settings, empty_databases, [READ])
    again = saved.with_name("again")
    with new_databases() as others:
        backup(others, "restore", saved)
        assert execute(settings, others, [READ]) == before
        backup(others, "save", again)
        backup(others, "restore", again, replace=True)
        assert execute(settings, others, [READ]) == before


def test_a_full_database_is_not_overwritten_unasked(
    saved: Path, empty_databases: Addresses, settings: Settings
) -> None:
    execute(settings, empty_databases, SPOILT)
    spoilt = execute(settings, empty_databases, [READ])
    place = re.escape(str(make_url(next(iter(empty_databases.values()))).database))
    with pytest.raises(BackupError, match=f"{place}.* has tables: replace=1"):
        backup(empty_databases, "restore", saved)
    assert execute(settings, empty_databases, [READ]) == spoilt


@pytest.mark.parametrize("before", [b"", b"damaged"])
def test_no_database_is_touched_when_a_file_is_damaged(
    saved: Path, empty_databases: Addresses, settings: Settings, before: bytes
) -> None:
    execute(settings, empty_databases, SPOILT)
    spoilt = execute(settings, empty_databases, [READ])
    last = saved / f"{DATABASES[-1].name}{SUFFIX}"
    whole = last.read_bytes()
    last.write_bytes(before + whole[: len(whole) // 2])
    with pytest.raises(BackupError, match=r"failed|is damaged"):
        backup(empty_databases, "restore", saved, replace=True)
    assert execute(settings, empty_databases, [READ]) == spoilt


def test_files_are_private_and_never_overwritten(saved: Path, empty_databases: Addresses) -> None:
    assert {file.name for file in saved.iterdir()} == {
        f"{database.name}{SUFFIX}" for database in DATABASES
    }
    assert {file.stat().st_mode & 0o777 for file in saved.iterdir()} == {0o600}
    with pytest.raises(BackupError, match="is not empty"):
        backup(empty_databases, "save", saved)


def test_a_missing_program_is_named() -> None:
    with pytest.raises(BackupError, match="no-such-program is not installed"):
        Target.at(SecretStr(FLAVOUR.example)).run(["no-such-program"])


def test_parts_of_an_address_come_from_other_variables(
    monkeypatch: pytest.MonkeyPatch, saved: Path, empty_databases: Addresses, settings: Settings
) -> None:
    before = execute(settings, empty_databases, [READ])
    named = {}
    for number, (name, address) in enumerate(empty_databases.items()):
        last = Path(str(make_url(address).database)).name
        monkeypatch.setenv(f"PART_{number}", last)
        named[name] = address.replace(last, f"${{PART_{number}}}")
    backup(named, "save", saved.with_name("again"))
    execute(settings, empty_databases, SPOILT)
    backup(empty_databases, "restore", saved.with_name("again"), replace=True)
    assert execute(settings, empty_databases, [READ]) == before


def test_a_database_that_is_missing_is_not_saved_as_an_empty_one(
    empty_databases: Addresses, tmp_path: Path
) -> None:
    missing = {}
    for name, address in empty_databases.items():
        url = make_url(address)
        nowhere = url.set(database=str(Path(str(url.database)).with_name("nowhere")))
        missing[name] = nowhere.render_as_string(hide_password=False)
    with pytest.raises(BackupError, match="nowhere"):
        backup(missing, "save", tmp_path / "saved")
    assert not list(tmp_path.glob(f"saved/*{SUFFIX}"))
