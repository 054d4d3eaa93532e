import shutil
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.layout import DATABASES
from app.core.development import lint_migrations
from app.core.migrate import configurations
from tests.core.migrating import as_environment, environment

DANGEROUS = '''
"""An index that holds up every writer."""

from alembic import op

revision = "dangerous"
down_revision = {head!r}


def upgrade() -> None:
    op.execute("CREATE INDEX slow ON large_table (name)")
'''


def lint(captured: pytest.CaptureFixture[str]) -> tuple[int, str]:
    addresses = {database.variable: FLAVOUR.example for database in DATABASES}
    with environment(**as_environment(addresses), LOG_LEVEL="WARNING"):
        status = lint_migrations.main()
    return status, captured.readouterr().out


def test_the_migrations_hold_up_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    status, said = lint(capfd)
    assert status == 0, said


def test_a_migration_that_would_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "service"
    shutil.copytree("migrations", copy / "migrations")
    for name in ("alembic.ini", ".squawk.toml"):
        shutil.copy(name, copy)
    scripts = ScriptDirectory.from_config(configurations()[0])
    dangerous = DANGEROUS.format(head=scripts.get_current_head())
    versions = Path(scripts.versions).relative_to(Path.cwd())
    (copy / versions).mkdir(exist_ok=True)
    (copy / versions / "dangerous.py").write_text(dangerous)
    monkeypatch.chdir(copy)
    status, said = lint(capfd)
    assert (status, "require-concurrent-index-creation" in said) == (1, True)
