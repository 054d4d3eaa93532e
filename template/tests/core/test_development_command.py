import os
import subprocess
import sys
from pathlib import Path

from app.config import Settings
from tests.core.migrating import as_environment, environment
from tests.core.plugin import Addresses
from tests.core.test_migrations import expected_tables, tables_of

COMMAND = ["-m", "app.core.development.command", "told", "create", "--name=Acme Ltd"]


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
    assert tables_of(settings, empty_databases) == expected_tables()
