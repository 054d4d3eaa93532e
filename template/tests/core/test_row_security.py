"""PostgreSQL itself confines tenants, and the service sees to it that it does."""

import sys
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import pytest
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from anyio import run_process
from fastapi import FastAPI
from sqlalchemy import Column, Connection, MetaData, Table, Uuid, func, make_url, select, text
from sqlalchemy.exc import DBAPIError

from app.config import Settings
from app.core.application import create_app
from app.core.database.base import OWNED
from app.core.database.layout import DATABASES
from app.core.database.revision import applied_table, check_revision, version_table
from app.core.database.roles.role import after_migrations, before_migrations
from app.core.database.row_security import confined_tables
from app.core.tenancy import across_tenants, as_tenant
from app.core.tenancy.models import Tenant
from app.core.tenancy.owned import HOME
from app.core.tenancy.row_security import check_database
from tests.core.migrating import as_environment, environment, migrate
from tests.core.plugin import Addresses, with_changes
from tests.core.tenants import Tenancy

ONE, OTHER = uuid4(), uuid4()


@pytest.fixture
async def two_tenants(app: FastAPI, rolled_back: None) -> None:
    for tenant in (ONE, OTHER):
        with as_tenant(tenant):
            async with HOME.session_context() as session:
                session.add(Tenant(id=tenant, slug=str(tenant), name="A tenant"))


@pytest.fixture
def migrated(empty_databases: Addresses) -> Addresses:
    """Databases of the test's own."""
    migrate(empty_databases)
    return empty_databases


async def ids() -> set[UUID]:
    async with HOME.session_context() as session:
        return set(await session.scalars(text("SELECT id FROM tenants")))


@pytest.mark.usefixtures("two_tenants")
async def test_raw_sql_sees_one_tenant() -> None:
    with as_tenant(ONE):
        assert await ids() == {ONE}
        async with HOME.session_context() as session:
            connection = await session.connection()
            assert (await connection.scalars(select(Tenant.__table__.c.id))).all() == [ONE]
            changed = await connection.execute(text("UPDATE tenants SET name = 'taken'"))
            assert changed.rowcount == 1


@pytest.mark.usefixtures("two_tenants")
async def test_raw_sql_writes_for_one_tenant() -> None:
    row = "INSERT INTO tenants (id, slug, name, created_at, updated_at)"
    with as_tenant(ONE):
        async with HOME.session_context() as session:
            with pytest.raises(DBAPIError, match="row-level security"):
                await session.execute(
                    text(f"{row} VALUES (:id, 'x', 'x', now(), now())"), {"id": uuid4()}
                )
            await session.rollback()


@pytest.mark.usefixtures("two_tenants")
async def test_nobody_sees_nothing() -> None:
    assert await ids() == set()


@pytest.mark.usefixtures("two_tenants")
async def test_a_session_may_be_opened_before_it_is_known_for_whom() -> None:
    async with HOME.session_context() as session:
        await session.execute(select(func.now()))
        with as_tenant(ONE):
            assert set(await session.scalars(text("SELECT id FROM tenants"))) == {ONE}


@pytest.mark.usefixtures("two_tenants")
async def test_work_across_tenants_sees_all() -> None:
    with across_tenants("test"):
        assert await ids() >= {ONE, OTHER}


@pytest.mark.usefixtures("two_tenants")
async def test_readers_are_confined_too() -> None:
    with as_tenant(ONE):
        async with HOME.read_session_context() as session:
            assert set(await session.scalars(text("SELECT id FROM tenants"))) == {ONE}


@pytest.mark.usefixtures("without_repository_rule", "without_session_net")
async def test_it_holds_alone_on_every_route(tenancy: Tenancy) -> None:
    assert await tenancy.attack() == []


async def test_a_connection_remembers_no_tenant(app: FastAPI, settings: Settings) -> None:
    one_connection = with_changes(settings, db_pool_size=1, db_max_overflow=0)
    current = text("SELECT current_setting('app.tenant_id', true)")
    async with HOME.connected(one_connection):
        with as_tenant(ONE):
            async with HOME.session_context() as session:
                assert await session.scalar(current) == str(ONE)
        async with HOME.session_context() as session:
            assert await session.scalar(current) == ""
        async with HOME.engine.connect() as connection:
            assert await connection.scalar(current) in {"", None}


async def test_every_table_of_tenants_is_confined(app: FastAPI) -> None:
    for database in DATABASES:
        async with database.observer.connect() as connection:
            confined = await connection.run_sync(confined_tables)
        names = {table.name for table in database.metadata.tables.values() if OWNED in table.info}
        assert names <= confined


async def test_the_service_s_role_has_no_more_rights_than_it_needs(app: FastAPI) -> None:
    for database in DATABASES:
        async with database.observer.connect() as connection:
            for refused in (
                "CREATE TABLE stolen (id int)",
                "ALTER TABLE {version} DISABLE ROW LEVEL SECURITY",
                "DELETE FROM {version}",
                "DELETE FROM {applied}",
                "CREATE ROLE friend SUPERUSER",
                "SET ROLE pg_read_all_data",
            ):
                kept = {
                    "version": version_table(database.section),
                    "applied": applied_table(database.section),
                }
                with pytest.raises(
                    DBAPIError, match=r"permission denied|must be (owner|superuser)"
                ):
                    await connection.execute(text(refused.format(**kept)))


async def test_a_role_that_is_not_confined_is_refused(
    migrated: Addresses, settings: Settings
) -> None:
    owner = {
        name: migrated[f"migration_{name}"] for name in migrated if not name.startswith("migration")
    }
    app = create_app(with_changes(settings, **migrated | owner))
    with pytest.raises(SystemExit, match=r"DATABASE_URL\w* must name a role"):
        async with app.router.lifespan_context(app):
            pass


async def test_a_role_of_a_replica_that_is_not_confined_is_refused(
    migrated: Addresses, settings: Settings
) -> None:
    owner = {each.replica_variable: migrated[f"migration_{each.variable}"] for each in DATABASES}
    app = create_app(with_changes(settings, **migrated | owner))
    with pytest.raises(SystemExit, match=r"DATABASE_REPLICA_URL\w* must name .*of DATABASE_URL"):
        async with app.router.lifespan_context(app):
            pass


async def test_a_table_that_is_not_confined_makes_the_service_unready(
    migrated: Addresses, settings: Settings
) -> None:
    async with AsyncExitStack() as stack:
        for database in DATABASES:
            there = with_changes(settings, **migrated)
            await stack.enter_async_context(database.connected(there))
        await check_database(at_start=False)
        async with HOME.migrator.begin() as connection:
            await connection.execute(text("ALTER TABLE tenants NO FORCE ROW LEVEL SECURITY"))
        with pytest.raises(RuntimeError, match="tenants"):
            await check_database(at_start=False)


async def test_the_owner_is_confined_like_everybody(
    migrated: Addresses, settings: Settings
) -> None:
    """Migrations of data work across tenants only because the foundation says so."""
    async with HOME.connected(with_changes(settings, **migrated)):
        with as_tenant(ONE):
            async with HOME.session_context() as session:
                session.add(Tenant(id=ONE, slug="one", name="A tenant"))
        async with HOME.migrator.connect() as connection:
            # The embedded server's owner is a superuser, whom nothing confines: play another one.
            await connection.execute(text("CREATE ROLE plain_owner"))
            await connection.execute(text("ALTER TABLE tenants OWNER TO plain_owner"))
            await connection.execute(text("SET LOCAL ROLE plain_owner"))
            count = text("SELECT count(*) FROM tenants")
            assert await connection.scalar(count) == 0
            for statement in before_migrations():
                await connection.execute(text(statement))
            assert await connection.scalar(count) == 1
            await connection.rollback()


async def test_a_migrator_that_may_make_no_role_says_what_to_do(
    migrated: Addresses, settings: Settings
) -> None:
    stranger = make_url(migrated[HOME.variable]).set(username="not_there_yet")
    changed = {HOME.variable: stranger.render_as_string(hide_password=False)}
    own = with_changes(settings, **migrated | changed)
    async with HOME.connected(own), HOME.migrator.connect() as connection:
        # The embedded server's owner is a superuser, who may do everything: play another one.
        await connection.execute(text("CREATE ROLE plain_migrator"))
        await connection.execute(text("SET LOCAL ROLE plain_migrator"))
        with pytest.raises(SystemExit, match='CREATE ROLE "not_there_yet" LOGIN'):
            await connection.run_sync(after_migrations, HOME.addresses(own), "alembic_version")
        await connection.rollback()


async def test_the_service_has_its_rights_where_newer_code_has_migrated(
    migrated: Addresses, settings: Settings
) -> None:
    """As when an older image restores a backup, which holds no rights."""
    role = make_url(migrated[HOME.variable]).username
    version = version_table(HOME.section)
    async with HOME.connected(with_changes(settings, **migrated)):
        async with HOME.migrator.begin() as connection:
            for statement in (
                f"UPDATE {version} SET version_num = 'newer'",  # noqa: S608
                f'REVOKE ALL ON ALL TABLES IN SCHEMA public FROM "{role}"',
            ):
                await connection.execute(text(statement))
        with environment(**as_environment(migrated)):
            await run_process([sys.executable, "-m", "app.core.migrate"])
        with across_tenants("test"):
            assert await ids() == set()


async def test_a_role_with_rights_given_by_hand_may_lack_those_of_a_table_of_the_foundation(
    migrated: Addresses, settings: Settings
) -> None:
    role = make_url(migrated[HOME.variable]).username
    own = with_changes(settings, **migrated)
    version, applied = version_table(HOME.section), applied_table(HOME.section)
    async with HOME.connected(own):
        async with HOME.migrator.begin() as connection:
            await connection.execute(text(f"UPDATE {version} SET version_num = 'newer'"))  # noqa: S608
        assert await check_revision(HOME, own) == {"revision": "newer"}
        async with HOME.migrator.begin() as connection:
            await connection.execute(text(f"TRUNCATE {applied}"))
            await connection.execute(text(f"INSERT INTO {applied} VALUES ('newer')"))  # noqa: S608
        with pytest.raises(RuntimeError, match="another branch"):
            await check_revision(HOME, own)
        async with HOME.migrator.begin() as connection:
            await connection.execute(text(f'REVOKE ALL ON {applied} FROM "{role}"'))
        assert await check_revision(HOME, own) == {"revision": "newer"}


async def test_a_migration_confines_a_new_table_of_tenants(app: FastAPI) -> None:
    metadata = MetaData()
    Table("parcels", metadata, Column("tenant_id", Uuid()), info={OWNED: "tenant_id"})
    Table("letters", metadata, Column("owner", Uuid()), info={OWNED: "owner"})

    def write(connection: Connection) -> tuple[str, str]:
        ours = {"include_name": lambda name, *_: name in metadata.tables}
        written = produce_migrations(MigrationContext.configure(connection, opts=ours), metadata)
        assert written.upgrade_ops is not None
        assert written.downgrade_ops is not None
        return (
            render_python_code(written.upgrade_ops),
            render_python_code(written.downgrade_ops),
        )

    async with HOME.observer.connect() as connection:
        upgrade, downgrade = await connection.run_sync(write)
    assert 'enable_row_security("parcels")' in upgrade
    assert 'enable_row_security("letters", "owner")' in upgrade
    assert 'disable_row_security("parcels")' in downgrade
