"""The databases of `docker compose`, reached by the programs in their containers."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import SecretStr

from app.core.backup.flavour import container_of, seen_from_inside
from app.core.backup.target import BackupError, Target
from app.core.database.handle import Database
from app.core.database.layout import DATABASES

COMPOSE = ("docker", "compose")


@contextmanager
def databases() -> Iterator[dict[Database, Target]]:
    """Give the databases at the addresses that the migrations are given.

    Raises:
        BackupError: Compose is not there, or refuses its files.
    """
    configuration = json.loads(_compose("config", "--format", "json", "migrate"))
    environment = configuration["services"]["migrate"]["environment"]
    found = {}
    for database in DATABASES:
        name = database.variable.upper()
        address = environment.get(f"MIGRATION_{name}") or environment[name]
        # Compose writes its own sign for a dollar.
        address = SecretStr(address.replace("$$", "$"))
        container = (*COMPOSE, *container_of(database.name))
        target = Target.at(address, container, environment.get)
        found[database] = Target(seen_from_inside(target.url), target.container)
    yield found


def upgrade() -> None:
    """Run the migrations in a container.

    Raises:
        BackupError: they fail.
    """
    _compose("run", "--rm", "-T", "migrate")


def _compose(*arguments: str) -> str:
    try:
        done = subprocess.run([*COMPOSE, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        raise BackupError("docker is not installed") from None
    if done.returncode != 0:
        raise BackupError(f"docker compose {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout
