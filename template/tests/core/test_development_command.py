import os
import subprocess
import sys
from pathlib import Path

from sqlalchemy import Connection, inspect

from app.config import Settings
from app.core.database.layout import DATABASES
from app.core.database.revision import version_table
from tests.core.migrating import as_environment, environment, look
from tests.core.plugin import Addresses, with_changes

COMMAND = ["-m", "app.core.development.command", "told", "create", "--name=Acme Ltd"]


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def test_it_gets_its_arguments_and_migrated_databases(
    empty_databases: Addresses, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "told.py").write_text("import sys\nprint(sys.argv[1:])\n", "utf-8")
    places = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    with environment(**as_environment(empty_databases), PYTHONPATH=places):
        said = subprocess.run(  # noqa: S603
            [sys.executable, *COMMAND], check=True, capture_output=True, text=True
        ).stdout
    assert said == "['create', '--name=Acme Ltd']\n"
    of = with_changes(settings, **empty_databases)
    for database in DATABASES:
        assert version_table(database.section) in look(of, database, tables)
