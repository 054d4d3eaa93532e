import pytest
from alembic import command

from app.core.database import Base
from app.core.discovery import import_submodules
from tests.core.migrating import alembic


def test_the_sql_can_be_read_before_it_is_run(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    alembic(database_url, lambda config: command.upgrade(config, "head", sql=True))
    output = capsys.readouterr().out
    import_submodules("app.models")
    assert all(f"CREATE TABLE {name}" in output for name in Base.metadata.tables)
