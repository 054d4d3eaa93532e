"""The oldest PostgreSQL that a service says will do, which is not the one that it brings along."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.answers import Resolver
from tests.support.render import Renderer
from tests.support.runs import COMMAND_SECONDS, environment, free_port
from tests.support.template import Template

OLDEST = 15
PROGRAMS = Path(f"/usr/lib/postgresql/{OLDEST}/bin")
TOLD = f"From {OLDEST} on any will do."
ANSWERS = {"preset": "multitenant", "vault": False, "frontend": "none"}
TESTS = ("backup", "migrations", "repository", "row_security", "sessions", "unit_of_work")
"""What of a service's own tests meets most of what PostgreSQL can do."""

pytestmark = pytest.mark.skipif(
    not PROGRAMS.is_dir(), reason=f"no PostgreSQL {OLDEST}: install postgresql-{OLDEST}"
)


@contextmanager
def oldest_server(home: Path) -> Iterator[str]:
    """Run a server of that version, and give the address of its maintenance database."""
    account = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    data, port, password = home / "data", free_port(), home / "password"
    data.mkdir()
    password.write_text("of-this-test", "utf-8")
    if account:
        for path in (home, data, password):
            shutil.chown(path, account)
    making = ["--username=owner", f"--pwfile={password}", "--auth=scram-sha-256"]
    making += ["--no-sync", f"--pgdata={data}"]
    subprocess.run(
        [str(PROGRAMS / "initdb"), *making], user=account, check=True, capture_output=True
    )
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c fsync=off -k {home}"
    control = [str(PROGRAMS / "pg_ctl"), "--wait", f"--pgdata={data}"]
    starting = ["start", f"--log={home}/log", f"--options={options}"]
    subprocess.run([*control, *starting], user=account, check=True, stdout=subprocess.DEVNULL)
    try:
        yield f"postgresql://owner:of-this-test@127.0.0.1:{port}/postgres"
    finally:
        stopping = [*control, "stop", "--mode=immediate"]
        subprocess.run(stopping, user=account, check=True, stdout=subprocess.DEVNULL)


def test_it_will_do(tmp_path: Path) -> None:
    renderer = Renderer(Template())
    answers = Resolver(renderer.template).resolve(ANSWERS)
    service = renderer.write(renderer.tree(answers), tmp_path / "service")
    assert TOLD in (service / "docker/README.md").read_text("utf-8")
    files = [f"tests/core/test_{name}.py" for name in TESTS]
    with (
        TemporaryDirectory(prefix="groundwork-") as home,
        oldest_server(Path(home)) as address,
    ):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
            cwd=service,
            env=environment(TEST_DATABASE_URL=address),
            check=False,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
