import pytest
from alembic import command

from app.core.database.layout import DATABASES
from app.core.discovery import import_submodules
from tests.core.migrating import alembic
from tests.core.plugin import Addresses


def test_the_sql_can_be_read_before_it_is_run(
    addresses: Addresses, capsys: pytest.CaptureFixture[str]
) -> None:
    alembic(addresses, lambda config: command.upgrade(config, "head", sql=True))
    output = capsys.readouterr().out
    import_submodules("app.models")
    for database in DATABASES:
        for name in database.metadata.tables:
            assert f"CREATE TABLE {name}" in output
