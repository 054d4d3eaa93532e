"""Look for statements in the migrations that would hold up a running service: part of `make lint`.

Squawk reads the SQL that Alembic would run; `.squawk.toml` says what is not asked for. What is
meant in spite of it is preceded by `app.core.database.danger.accept`.
"""

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config

from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.layout import DATABASES
from app.core.development.sign_in import name_issuer


def main() -> int:
    """Give squawk's exit status, which is 0 when it finds nothing."""
    os.environ["LOG_LEVEL"] = "WARNING"
    sql = io.StringIO()
    name_issuer()
    for database in DATABASES:
        os.environ.setdefault(database.variable.upper(), FLAVOUR.example)
    for database in DATABASES:
        config = Config("alembic.ini", ini_section=database.section, output_buffer=sql)
        command.upgrade(config, "head", sql=True)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "migrations.sql"
        file.write_text(sql.getvalue())
        # The environment's own program, whether or not it is on the path.
        squawk = Path(sys.executable).with_name("squawk")
        return subprocess.run([squawk, file], check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
