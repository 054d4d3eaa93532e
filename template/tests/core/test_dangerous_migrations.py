import shutil
import subprocess
import sys
from pathlib import Path

from alembic.script import ScriptDirectory

from app.core.migrate import configurations

DANGEROUS = '''
"""An index that holds up every writer."""

from alembic import op

revision = "dangerous"
down_revision = {head!r}


def upgrade() -> None:
    op.execute("CREATE INDEX slow ON large_table (name)")
'''


def lint(directory: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "app.core.development.lint_migrations"],
        cwd=directory,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_migrations_hold_up_nobody() -> None:
    done = lint(Path.cwd())
    assert done.returncode == 0, done.stdout


def test_a_migration_that_would_is_noticed(tmp_path: Path) -> None:
    copy = tmp_path / "service"
    shutil.copytree(".", copy, ignore=shutil.ignore_patterns(".local", ".venv", "__pycache__"))
    scripts = ScriptDirectory.from_config(configurations()[0])
    dangerous = DANGEROUS.format(head=scripts.get_current_head())
    versions = Path(scripts.versions).relative_to(Path.cwd())
    (copy / versions).mkdir(exist_ok=True)
    (copy / versions / "dangerous.py").write_text(dangerous)
    done = lint(copy)
    assert (done.returncode, "require-concurrent-index-creation" in done.stdout) == (1, True)
