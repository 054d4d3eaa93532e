import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import text

from app.core.database import migrations
from app.core.database.layout import DATABASES
from app.core.database.revision import applied_table
from app.core.discovery import import_submodules
from app.core.migrate import configurations
from tests.core.migrating import alembic
from tests.core.plugin import Addresses


def sql_of(addresses: Addresses, capsys: pytest.CaptureFixture[str]) -> str:
    alembic(addresses, lambda config: command.upgrade(config, "head", sql=True))
    return capsys.readouterr().out


def test_values_stand_in_the_sql(
    addresses: Addresses, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    statement = text("SELECT :name").bindparams(name="it's")
    monkeypatch.setattr(migrations, "before_migrations", lambda: [statement])
    assert sql_of(addresses, capsys).count("SELECT 'it''s'") == len(DATABASES)


def test_the_sql_can_be_read_before_it_is_run(
    addresses: Addresses, capsys: pytest.CaptureFixture[str]
) -> None:
    output = sql_of(addresses, capsys)
    import_submodules("app.models")
    for database in DATABASES:
        for name in database.metadata.tables:
            assert f"CREATE TABLE {name}" in output


def test_the_sql_notes_what_the_database_is_brought_through(
    addresses: Addresses, capsys: pytest.CaptureFixture[str]
) -> None:
    output = sql_of(addresses, capsys)
    for database, config in zip(DATABASES, configurations(), strict=True):
        known = [each.revision for each in ScriptDirectory.from_config(config).walk_revisions()]
        noted = f"INTO {applied_table(database.section)} (version_num) VALUES "
        values = output.partition(noted)[2].partition(";")[0]
        assert set(filter(None, values.split(", "))) == {f"('{each}')" for each in known}
