import asyncio
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import StringIO
from pathlib import Path

import pytest
from alembic import command
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, event, inspect, text

from app.config import Settings
from app.core.application import create_app
from app.core.database import revision
from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.layout import DATABASES
from app.core.database.revision import applied_table, version_table
from app.core.database.row_security_migrations import disable_row_security, enable_row_security
from app.core.discovery import import_submodules
from app.core.migrate import configurations
from app.core.migrate import main as bring_up_to_date
from tests.core.migrating import alembic, as_environment, environment, look, migrate
from tests.core.new_model import NEW_MODEL
from tests.core.plugin import Addresses, caller_of, with_changes

MIGRATORS = 5
COMMANDS = """
from alembic import command
from app.core.migrate import configurations, upgrade

upgrade()
command.revision(configurations()[0], "Add widgets", autogenerate=True)
upgrade()
for config in configurations():
    command.check(config)
command.downgrade(configurations()[0], "-1")
"""
REVISION = """
revision = {name!r}
down_revision = {head!r}


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
"""


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def tables_of(settings: Settings, addresses: Addresses) -> list[set[str]]:
    of = with_changes(settings, **addresses)
    return [look(of, database, tables) for database in DATABASES]


def expected_tables() -> list[set[str]]:
    import_submodules("app.models")
    models = [set(database.metadata.tables) for database in DATABASES]
    return [own | kept for own, kept in zip(models, kept_tables(), strict=True)]


def kept_tables() -> list[set[str]]:
    """The tables of Alembic, and of what a database was brought through."""
    return [
        {version_table(database.section), *([applied_table(database.section)] if known else [])}
        for database, known in zip(DATABASES, revisions(), strict=True)
    ]


def revisions() -> list[set[str]]:
    scripts = (ScriptDirectory.from_config(config) for config in configurations())
    return [{script.revision for script in each.walk_revisions()} for each in scripts]


def test_each_history_has_one_head() -> None:
    for config in configurations():
        assert len(ScriptDirectory.from_config(config).get_heads()) <= 1


def test_up_down_and_up_again(empty_databases: Addresses, settings: Settings) -> None:
    migrate(empty_databases)
    assert tables_of(settings, empty_databases) == expected_tables()
    alembic(empty_databases, lambda config: command.downgrade(config, "base"))
    assert tables_of(settings, empty_databases) == kept_tables()
    migrate(empty_databases)
    assert tables_of(settings, empty_databases) == expected_tables()


def test_the_migrations_make_what_the_models_say(addresses: Addresses) -> None:
    alembic(addresses, command.check)


def test_several_migrators_at_once(empty_databases: Addresses, settings: Settings) -> None:
    with environment(**as_environment(empty_databases), LOG_LEVEL="INFO"):
        migrators = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "tests.core.migrators", str(MIGRATORS)],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
        )
    assert migrators.returncode == 0, migrators.stdout
    assert migrators.stdout.count("Running upgrade") == sum(map(len, revisions()))
    assert tables_of(settings, empty_databases) == expected_tables()


def test_a_migrator_that_has_nothing_to_do_writes_nothing(empty_databases: Addresses) -> None:
    """So it needs no rights to do so."""
    said: list[str] = []

    def listen(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        said.append(statement.split(maxsplit=1)[0])

    with environment(**as_environment(empty_databases)):
        bring_up_to_date()
        event.listen(Engine, "before_cursor_execute", listen)
        try:
            bring_up_to_date()
        finally:
            event.remove(Engine, "before_cursor_execute", listen)
    assert "SELECT" in said or "PRAGMA" in said
    assert not {"CREATE", "DELETE", "INSERT", "UPDATE"}.intersection(said)


def test_a_database_ahead_of_the_code_stays_as_it_is(
    empty_databases: Addresses, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    migrate(empty_databases)
    of = with_changes(settings, **empty_databases)
    for database in DATABASES:
        look(of, database, partial(claim_newer, version_table(database.section)))
    with environment(**as_environment(empty_databases)):
        bring_up_to_date()
    said = capsys.readouterr().err
    assert said.count("the database is ahead of this code") == len(DATABASES), said
    for database in DATABASES:
        table = version_table(database.section)
        assert look(of, database, partial(revisions_in, table)) == {"newer"}
    assert migrations_are(of) == {"up"}
    with pytest.raises(CommandError, match="newer"):
        migrate(empty_databases)


def claim_newer(table: str, connection: Connection) -> None:
    connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608
    connection.execute(text(f"INSERT INTO {table} VALUES ('newer')"))  # noqa: S608
    connection.commit()


def revisions_in(table: str, connection: Connection) -> set[str]:
    return set(connection.execute(text(f"SELECT version_num FROM {table}")).scalars())  # noqa: S608


def drop(table: str, connection: Connection) -> None:
    connection.execute(text(f"DROP TABLE {table}"))
    connection.commit()


def migrations_are(settings: Settings) -> set[str]:
    states = asyncio.run(readiness(settings))
    return {states[each.name.replace("database", "migrations")] for each in DATABASES}


@pytest.fixture
def branch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Go over to another branch of the service, on which each history has one more migration."""
    service = Path.cwd()

    def check_out(name: str) -> None:
        monkeypatch.chdir(service)
        scripts = [ScriptDirectory.from_config(config) for config in configurations()]
        copy = tmp_path / name
        if not copy.exists():
            shutil.copytree("migrations", copy / "migrations")
            shutil.copy("alembic.ini", copy)
        for each in scripts:
            versions = copy / Path(each.versions).relative_to(service)
            versions.mkdir(exist_ok=True)
            source = REVISION.format(name=name, head=each.get_current_head())
            (versions / f"{name}.py").write_text(source)
        monkeypatch.chdir(copy)
        revision._revisions.cache_clear()

    yield check_out
    revision._revisions.cache_clear()


def test_a_database_that_another_branch_has_migrated_is_refused(
    empty_databases: Addresses, settings: Settings, branch: Callable[[str], None]
) -> None:
    of = with_changes(settings, **empty_databases)
    with environment(**as_environment(empty_databases)):
        branch("theirs")
        bring_up_to_date()
        branch("ours")
        with pytest.raises(SystemExit, match=r"^migrations: .* at theirs.* never had ours\b.*$"):
            bring_up_to_date()
        assert migrations_are(of) == {"down"}
        branch("theirs")
        assert migrations_are(of) == {"up"}


def test_what_a_branch_takes_back_it_has_not_applied(
    empty_databases: Addresses, settings: Settings, branch: Callable[[str], None]
) -> None:
    of = with_changes(settings, **empty_databases)
    with environment(**as_environment(empty_databases)):
        branch("theirs")
        bring_up_to_date()
        alembic(empty_databases, lambda config: command.downgrade(config, "-1"))
        branch("ours")
        bring_up_to_date()
        assert migrations_are(of) == {"up"}
        branch("theirs")
        with pytest.raises(SystemExit, match=r"at ours.* never had theirs"):
            bring_up_to_date()


def test_a_branch_may_say_that_the_tables_are_right(
    empty_databases: Addresses, settings: Settings, branch: Callable[[str], None]
) -> None:
    """As after migrations were squashed, or made again under another name."""
    of = with_changes(settings, **empty_databases)
    with environment(**as_environment(empty_databases)):
        branch("theirs")
        bring_up_to_date()
        branch("ours")
        alembic(empty_databases, lambda config: command.stamp(config, "head", purge=True))
        bring_up_to_date()
        for each in ("ours", "theirs"):
            branch(each)
            assert migrations_are(of) == {"up"}


def test_nothing_is_refused_before_a_database_says_what_it_was_brought_through(
    empty_databases: Addresses, settings: Settings, branch: Callable[[str], None]
) -> None:
    of = with_changes(settings, **empty_databases)
    with environment(**as_environment(empty_databases)):
        branch("theirs")
        bring_up_to_date()
        for database in DATABASES:
            look(of, database, partial(drop, applied_table(database.section)))
        branch("ours")
        bring_up_to_date()
        assert migrations_are(of) == {"up"}
        branch("theirs")
        bring_up_to_date()
        for database, expected in zip(DATABASES, revisions(), strict=True):
            table = applied_table(database.section)
            assert look(of, database, partial(revisions_in, table)) == expected
        branch("ours")
        with pytest.raises(SystemExit, match="never had ours"):
            bring_up_to_date()


def test_a_migrator_waits_for_another_only_so_long(
    empty_databases: Addresses, settings: Settings
) -> None:
    with (
        lock_held(with_changes(settings, **empty_databases)),
        environment(DB_MIGRATION_LOCK_TIMEOUT="1"),
        pytest.raises(TimeoutError, match="another migration"),
    ):
        migrate(empty_databases)
    migrate(empty_databases)


@contextmanager
def lock_held(settings: Settings) -> Iterator[None]:
    """Another migrator is at work."""
    held, release = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        with FLAVOUR.migration_lock(connection, 5, 5), connection.begin():
            held.set()
            release.wait(30)

    other = threading.Thread(target=look, args=[settings, DATABASES[0], hold])
    other.start()
    assert held.wait(30)
    try:
        yield
    finally:
        release.set()
        other.join()


@pytest.mark.parametrize("migrated", [True, False])
def test_ready_follows_the_revision(
    empty_databases: Addresses, settings: Settings, *, migrated: bool
) -> None:
    if migrated:
        migrate(empty_databases)
    states = asyncio.run(readiness(with_changes(settings, **empty_databases)))
    for database, config in zip(DATABASES, configurations(), strict=True):
        heads = ScriptDirectory.from_config(config).get_heads()
        migrations = "up" if migrated or not heads else "down"
        assert states[database.name] == "up"
        assert states[database.name.replace("database", "migrations")] == migrations


async def readiness(settings: Settings) -> dict[str, str]:
    service = create_app(settings)
    async with service.router.lifespan_context(service), caller_of(service) as caller:
        components = (await caller.get("/ready")).json()["components"]
    return {name: each["status"] for name, each in components.items()}


@pytest.mark.parametrize(
    ("current", "applied", "state"),
    [
        ("a", "a", "down"),
        ("b", "ab", "up"),
        ("", "", "down"),
        ("n", "", "up"),
        ("n", "abn", "up"),
        ("n", "an", "down"),
        ("bn", "an", "up"),
        ("a", "ab", "down"),
    ],
)
async def test_only_a_database_that_lacks_migrations_is_not_ready(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, current: str, applied: str, state: str
) -> None:
    monkeypatch.setattr(revision, "_revisions", lambda _: (frozenset("b"), frozenset("ab")))
    monkeypatch.setattr(
        revision,
        "read_revisions",
        lambda _, table: frozenset(applied if table.startswith("alembic_applied") else current),
    )
    migrations = DATABASES[0].name.replace("database", "migrations")
    assert (await readiness(settings))[migrations] == state


def test_a_new_model_gets_a_clean_migration(tmp_path: Path, empty_databases: Addresses) -> None:
    copy = tmp_path / "service"
    shutil.copytree(".", copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    (copy / "app/models/widget.py").write_text(NEW_MODEL)
    with environment(**as_environment(empty_databases)):
        run(copy, "-c", COMMANDS)
    run(copy, "-m", "ruff", "check", "migrations")
    run(copy, "-m", "ruff", "format", "--check", "migrations")


def run(directory: Path, *arguments: str) -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, *arguments],
        cwd=directory,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("dialect", "confines"), [("postgresql", True), ("mysql", False), ("sqlite", False)]
)
def test_migrations_that_confine_a_table_outlive_the_database(
    dialect: str, *, confines: bool
) -> None:
    written = StringIO()
    to_text = {"as_sql": True, "output_buffer": written}
    with Operations.context(MigrationContext.configure(dialect_name=dialect, opts=to_text)):
        enable_row_security("parcels")
        disable_row_security("parcels")
    assert ("CREATE POLICY tenant_isolation ON parcels" in written.getvalue()) is confines
    assert ("DISABLE ROW LEVEL SECURITY" in written.getvalue()) is confines
    assert bool(written.getvalue()) is confines
