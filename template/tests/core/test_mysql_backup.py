"""What only MySQL and MariaDB must be told when they save and restore."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.config import Settings
from app.core.backup.flavour import dump
from app.core.backup.target import Target
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
EVENT = "CREATE EVENT tidy ON SCHEDULE EVERY 1 YEAR DO SELECT 1"
EVENTS = "SELECT event_name FROM information_schema.events WHERE event_schema = DATABASE()"
MYSQLDUMP = """#!/bin/sh
case "$*" in *--loose-set-gtid-purged=OFF*) exit 0;; esac
echo "SET @@GLOBAL.GTID_PURGED='3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5';"
"""
SAYS_ITS_OPTIONS = """#!/bin/sh
for option; do case $option in *ssl*) echo "$option";; esac; done
"""
BLIND = "--loose-disable-ssl-verify-server-cert"


def test_new_tables_agree_with_restored_ones(
    empty_databases: Addresses, settings: Settings, tmp_path: Path
) -> None:
    execute(settings, empty_databases, AS_BEFORE)
    backup(empty_databases, "save", tmp_path / "saved")
    backup(empty_databases, "restore", tmp_path / "saved", replace=True)
    for [row] in execute(settings, empty_databases, AFTERWARDS):
        assert row == (COLLATION,)


def test_events_are_kept(empty_databases: Addresses, settings: Settings, tmp_path: Path) -> None:
    execute(settings, empty_databases, [EVENT])
    backup(empty_databases, "save", tmp_path / "saved")
    backup(empty_databases, "restore", tmp_path / "saved", replace=True)
    for rows in execute(settings, empty_databases, [EVENTS]):
        assert rows == [("tidy",)]


def test_a_backup_leaves_the_ids_of_transactions_to_their_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As MySQL's program does on a server with GTIDs; MariaDB's never writes them."""
    program = tmp_path / "mysqldump"
    program.write_text(MYSQLDUMP)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    dump(Target(make_url("mysql://service@localhost/service")), tmp_path / "saved.sql")
    assert (tmp_path / "saved.sql").read_text() == ""


@pytest.mark.parametrize(
    ("program", "query", "options"),
    [
        ("mariadb-dump", "", [BLIND]),
        ("mysqldump", "?ssl-mode=DISABLED&ssl-ca=a.pem", [BLIND]),
        ("mariadb-dump", "?ssl-mode=REQUIRED", ["--loose-ssl-mode=REQUIRED", "--ssl", BLIND]),
        # MySQL's own has no --ssl.
        ("mysqldump", "?ssl-mode=REQUIRED", ["--loose-ssl-mode=REQUIRED", BLIND]),
        (
            "mysqldump",
            "?ssl_cert=a.pem&ssl_key=a.key&ssl_capath=a",
            [
                *("--ssl-cert=a.pem", "--ssl-key=a.key", "--ssl-capath=a"),
                *("--loose-ssl-mode=VERIFY_IDENTITY", "--loose-ssl-verify-server-cert"),
            ],
        ),
        (
            "mysqldump",
            "?ssl_ca=a.pem&ssl_check_hostname=false",
            ["--ssl-ca=a.pem", "--loose-ssl-mode=VERIFY_CA", BLIND],
        ),
    ],
)
def test_programs_use_tls_as_the_driver_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, query: str, options: list[str]
) -> None:
    """Those of MariaDB 11.4 and later verify when they are not told what to do."""
    (tmp_path / program).write_text(SAYS_ITS_OPTIONS)
    (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    dump(Target(make_url(f"mysql://service@localhost/service{query}")), tmp_path / "saved.sql")
    assert (tmp_path / "saved.sql").read_text().splitlines() == options
