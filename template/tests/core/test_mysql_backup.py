"""What only MySQL and MariaDB must be told when they save and restore."""

from pathlib import Path

from app.config import Settings
from tests.core.plugin import Addresses
from tests.core.test_backup import backup, execute

COLLATION = "utf8mb4_unicode_ci"
AS_BEFORE = (
    f"ALTER DATABASE COLLATE {COLLATION}",
    "CREATE TABLE before_it (name VARCHAR(50) PRIMARY KEY)",
)
AFTERWARDS = (
    "CREATE TABLE after_it (name VARCHAR(50), FOREIGN KEY (name) REFERENCES before_it (name))",
    "SELECT @@collation_database",
)


def test_new_tables_agree_with_restored_ones(
    empty_databases: Addresses, settings: Settings, tmp_path: Path
) -> None:
    execute(settings, empty_databases, AS_BEFORE)
    backup(empty_databases, "save", tmp_path / "saved")
    backup(empty_databases, "restore", tmp_path / "saved", replace=True)
    for [row] in execute(settings, empty_databases, AFTERWARDS):
        assert row == (COLLATION,)
