"""The command that rotates, on the service's own tables."""

import re
from pathlib import Path

import pytest

from app.core.database.layout import DATABASES
from app.core.encryption.__main__ import main
from tests.core.encryption.key_files import write_keys
from tests.core.migrating import as_environment, migrate
from tests.core.plugin import Addresses


def test_the_command(
    empty_databases: Addresses,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_keys(tmp_path / "master.key", 2, 1)
    for name, value in as_environment(empty_databases).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RENDER_MASTER_KEY_PATH", str(path))
    migrate(empty_databases)
    main(["rotate"])
    main(["status"])
    said = capsys.readouterr().out.splitlines()
    assert said.pop().startswith("not counted: what encryption.seal has made")
    assert len(said) == 2 * len(DATABASES)
    for line in said[: len(DATABASES)]:
        assert re.fullmatch(r"\w+: 0 rows encrypted, 0 changed meanwhile, 0 unreadable", line)
    for line in said[len(DATABASES) :]:
        assert re.fullmatch(r"\w+: v2 0, v1 0, other 0", line)
