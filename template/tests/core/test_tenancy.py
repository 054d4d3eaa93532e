"""Whose rows are seen and stored, below HTTP and around it."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from time import monotonic
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import APIRouter, FastAPI
from httpx2 import AsyncClient
from sqlalchemy import (
    Column,
    ColumnElement,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    Uuid,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import (
    Mapped,
    aliased,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
    subqueryload,
)

from app.config import Settings
from app.core.application import create_app
from app.core.database.base import KEPT_FOR, OWNED, Entity
from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.idempotency import IdempotencyKeys, _realm_prefix, once
from app.core.database.layout import DATABASES
from app.core.database.repository import Repository
from app.core.database.tables import make_tables
from app.core.database.types import utc_now
from app.core.discovery import import_submodules
from app.core.jobs import Job, JobFailedError, enqueue, task
from app.core.tenancy import __main__ as tenancy
from app.core.tenancy import across_tenants, as_tenant, current_tenant
from app.core.tenancy import directory as tenants
from app.core.tenancy.__main__ import parse, run
from app.core.tenancy.directory import (
    as_demo_tenant,
    create_tenant,
    delete_tenant,
    directory,
    find_tenant,
    suspend_tenant,
)
from app.core.tenancy.errors import CrossTenantError, NoTenantError
from app.core.tenancy.models import SLUG, Tenant, grave_of
from app.core.tenancy.owned import HOME, TenantOwned
from app.core.tenancy.scope import identify, in_directory
from app.seed import seed
from tests.core.first_database import ExtraBase, ExtraModel, SessionDep, database
from tests.core.issuing.base import Issuer, bearer
from tests.core.jobs.collected import Collected
from tests.core.migrating import as_environment, migrate
from tests.core.outages import line_to
from tests.core.plugin import TENANT, Addresses, caller_of, with_changes

ONE, OTHER = uuid4(), uuid4()
SOON = timedelta(seconds=20)
ME = "/api/v1/auth/me"
MINE = "/api/v1/tenant"


class Thing(TenantOwned, ExtraModel):
    """Something that a tenant owns."""

    __tablename__ = "things_of_the_tests"

    tenant_id: Mapped[UUID] = mapped_column(default=current_tenant)
    name: Mapped[str] = mapped_column(String(50))
    parts: Mapped[list["Part"]] = relationship(back_populates="thing", lazy="raise")


class Part(TenantOwned, ExtraModel):
    """Something that refers to a thing, and to nobody's in particular."""

    __tablename__ = "parts_of_the_tests"

    tenant_id: Mapped[UUID] = mapped_column(default=current_tenant)
    thing_id: Mapped[UUID] = mapped_column(ForeignKey("things_of_the_tests.id"))
    thing: Mapped[Thing | None] = relationship(back_populates="parts", lazy="raise")


SEEN: list[str] = []


@task(database=database, keeps_result=True)
async def look_at_things(session: AsyncSession) -> None:
    """Remember which things the job sees."""
    SEEN.extend(await session.scalars(select(Thing.name)))


KEYS = IdempotencyKeys(database, name="keys_of_the_tenants", metadata=ExtraBase.metadata)


class ThingRepository(Repository[Thing]):
    model = Thing


@pytest.fixture
async def service(empty_databases: Addresses, settings: Settings) -> AsyncIterator[FastAPI]:
    """An application that really commits, with a thing of each of two tenants."""
    app = create_app(with_changes(settings, **empty_databases))
    async with app.router.lifespan_context(app):
        await make_tables(database, ExtraBase.metadata)
        for tenant in (ONE, OTHER):
            with as_tenant(tenant):
                async with database.session_context() as session:
                    session.add(Thing(name=f"of {tenant}"))
        yield app


@pytest.fixture
async def session(service: FastAPI) -> AsyncIterator[AsyncSession]:
    """A session of the one tenant."""
    with as_tenant(ONE):
        async with database.session_context() as session:
            yield session


async def names() -> list[str]:
    with across_tenants("test"):
        async with database.read_session_context() as session:
            return sorted(await session.scalars(select(Thing.name)))


async def test_repositories_see_one_tenant(session: AsyncSession) -> None:
    things = ThingRepository(session)
    assert [thing.tenant_id async for thing in things.stream()] == [ONE]
    assert await things.count() == 1
    assert "tenant_id" in str(things.query())


@pytest.mark.parametrize(
    "statement",
    [
        select(Thing.tenant_id),
        select(aliased(Thing).tenant_id),
        select(select(Thing.tenant_id).subquery()),
        select(Thing.tenant_id).where(Thing.id.in_(select(Thing.id))),
        select(Thing.tenant_id).join(twin := aliased(Thing), twin.name != Thing.name, isouter=True),
    ],
)
async def test_statements_of_one_s_own_see_one_tenant(
    session: AsyncSession, statement: "object"
) -> None:
    assert set(await session.scalars(statement)) == {ONE}  # type: ignore[call-overload]


def test_rules_of_other_mixins_hold_too() -> None:
    rule = func.now() > Tenant.created_at

    class Ruled(Entity):
        @classmethod
        def __visible_rows__(cls) -> Iterator[ColumnElement[bool]]:
            yield rule

    class Both(TenantOwned, Ruled):
        """Neither of them is mapped."""

    with across_tenants("test"):
        assert list(Both.__visible_rows__()) == [rule]


async def test_a_foreign_row_is_not_there(session: AsyncSession) -> None:
    with across_tenants("test"):
        async with database.read_session_context() as everybody:
            foreign = await everybody.scalar(select(Thing.id).where(Thing.tenant_id == OTHER))
    assert foreign is not None
    assert await session.get(Thing, foreign) is None
    assert await session.scalar(select(func.count()).select_from(Thing)) == 1


async def test_a_relationship_leads_to_no_foreign_row(service: FastAPI) -> None:
    with across_tenants("test"):
        async with database.read_session_context() as everybody:
            rows = await everybody.execute(select(Thing.tenant_id, Thing.id))
            things = dict(rows.all())
    for tenant in (ONE, OTHER):
        with as_tenant(tenant):
            async with database.session_context() as session:
                session.add_all(Part(thing_id=thing) for thing in things.values())
    with as_tenant(ONE):
        for load in (selectinload, joinedload):
            async with database.session_context() as session:
                parts = list(await session.scalars(select(Part).options(load(Part.thing))))
                assert len(parts) == 2
                assert {part.thing.name for part in parts if part.thing} == {f"of {ONE}"}
        async with database.session_context() as session:
            for part in await session.scalars(select(Part)):
                await session.refresh(part, ["thing"])
                assert (part.thing is not None) == (part.thing_id == things[ONE])
        for loading in (
            selectinload(Thing.parts),
            joinedload(Thing.parts),
            subqueryload(Thing.parts),
        ):
            async with database.session_context() as session:
                mine = select(Thing).options(loading)
                [thing] = (await session.scalars(mine)).unique()
                assert [part.tenant_id for part in thing.parts] == [ONE]


@pytest.fixture
async def registered(service: FastAPI) -> None:
    """Tables for all that a tenant may own, and for the tenants themselves."""
    for each in DATABASES:
        await make_tables(each, each.metadata)


async def test_a_job_works_for_the_tenant_that_has_asked_for_it(
    registered: None, jobs: Collected
) -> None:
    for tenant in (ONE, OTHER):
        with as_tenant(tenant):
            await enqueue(look_at_things)
    SEEN.clear()
    await jobs.run_all()
    assert [f"of {ONE}", f"of {OTHER}"] == SEEN


async def test_a_job_of_a_deleted_tenant_is_left_undone(registered: None, jobs: Collected) -> None:
    """What it stores, nobody could remove any more."""
    asked: list[Job[None]] = []
    for tenant in (ONE, OTHER):
        with as_tenant(tenant):
            asked.append(await enqueue(look_at_things))
    await delete_tenant(ONE)
    SEEN.clear()
    await jobs.run_all()
    assert [f"of {OTHER}"] == SEEN
    with pytest.raises(JobFailedError):
        await asked[0].result(SOON)
    await asked[1].result(SOON)


async def test_what_the_last_jobs_of_a_tenant_store_goes_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They began before it was deleted."""
    done: list[object] = []

    async def note(what: object) -> None:
        done.append(what)

    monkeypatch.setattr(tenancy, "asyncio", SimpleNamespace(sleep=note))
    monkeypatch.setattr(tenancy, "delete_tenant", note)
    await tenancy._delete(ONE, longest_job=300)
    assert done == [tenants.REMEMBERED_SECONDS, ONE, 300, ONE]


async def test_jobs_remember_a_tenant_that_is_there(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await client.get(MINE)).status_code == 200
    directory.forget_all()
    with as_tenant(UUID(TENANT)):
        assert not await directory.is_deleted(UUID(TENANT))
        monkeypatch.setattr(directory, "_find", None)
        assert not await directory.is_deleted(UUID(TENANT))


async def test_a_job_of_nobody_sees_nothing(service: FastAPI, jobs: Collected) -> None:
    SEEN.clear()
    await enqueue(look_at_things)
    await jobs.run_all()
    assert SEEN == []


async def test_bulk_changes_touch_one_tenant(service: FastAPI) -> None:
    with as_tenant(ONE):
        async with database.session_context() as session:
            await session.execute(update(Thing).values(name="changed"))
    assert await names() == sorted(["changed", f"of {OTHER}"])
    with as_tenant(ONE):
        async with database.session_context() as session:
            await session.execute(delete(Thing))
    assert await names() == [f"of {OTHER}"]


async def test_what_is_stored_belongs_to_the_tenant(session: AsyncSession) -> None:
    thing = Thing(name="new")
    session.add(thing)
    await session.flush()
    await session.execute(insert(Thing).values(name="in bulk"))
    assert thing.tenant_id == ONE
    assert set(await session.scalars(select(Thing.tenant_id))) == {ONE}


async def test_nothing_is_stored_for_another_tenant(session: AsyncSession) -> None:
    session.add(Thing(name="new", tenant_id=OTHER))
    with pytest.raises(CrossTenantError):
        await session.flush()
    session.expunge_all()
    for statement in (
        insert(Thing).values(name="new", tenant_id=OTHER),
        insert(Thing).values([{"name": "new", "tenant_id": OTHER}]),
        update(Thing).values(tenant_id=OTHER),
    ):
        with pytest.raises(CrossTenantError):
            await session.execute(statement)
    with pytest.raises(CrossTenantError):
        await session.execute(insert(Thing), [{"name": "new", "tenant_id": OTHER}])


async def test_nothing_changes_hands(session: AsyncSession) -> None:
    mine = (await session.scalars(select(Thing))).one()
    mine.tenant_id = OTHER
    with pytest.raises(CrossTenantError):
        await session.flush()
    session.expunge_all()


async def test_an_object_of_another_tenant_is_not_written(service: FastAPI) -> None:
    with as_tenant(OTHER):
        async with database.session_context() as session:
            foreign = (await session.scalars(select(Thing))).one()
    with as_tenant(ONE):
        for action in ("change", "delete"):
            async with database.session_context() as session:
                session.add(foreign)
                if action == "change":
                    foreign.name = "taken"
                else:
                    await session.delete(foreign)
                with pytest.raises(CrossTenantError):
                    await session.flush()
                session.expunge_all()
    assert await names() == sorted([f"of {ONE}", f"of {OTHER}"])


async def test_without_a_tenant_nothing_is_read_or_stored(service: FastAPI) -> None:
    async with database.session_context() as session:
        with pytest.raises(NoTenantError):
            await session.scalars(select(Thing))
        with pytest.raises(NoTenantError):
            ThingRepository(session).query()
        session.add(Thing(name="nobody's"))
        with pytest.raises(NoTenantError):
            await session.flush()
        session.expunge_all()


async def test_a_session_serves_one_tenant(session: AsyncSession) -> None:
    await session.scalars(select(Thing))
    with as_tenant(OTHER), pytest.raises(CrossTenantError):
        await session.scalars(select(Thing))


async def test_a_savepoint_serves_the_same_tenant(session: AsyncSession) -> None:
    await session.scalars(select(Thing))
    with as_tenant(OTHER), pytest.raises(CrossTenantError):
        async with session.begin_nested():
            await session.execute(select(func.now()))


async def test_a_session_may_be_opened_before_it_is_known_for_whom(service: FastAPI) -> None:
    async with database.session_context() as session:
        await session.execute(select(func.now()))
        with as_tenant(ONE):
            assert set(await session.scalars(select(Thing.tenant_id))) == {ONE}


async def test_work_across_tenants_is_explicit_and_audited(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, object]] = []

    def record(event: str, **fields: object) -> None:
        written.append((event, fields["reason"]))

    monkeypatch.setattr("app.core.tenancy.scope.audit", record)
    with across_tenants("count things"):
        async with database.session_context() as everybody:
            assert set(await everybody.scalars(select(Thing.tenant_id))) == {ONE, OTHER}
            everybody.add(Thing(name="whose?"))
            with pytest.raises(NoTenantError, match="must name the tenant"):
                await everybody.flush()
            everybody.expunge_all()
    assert written == [("tenancy.across", "count things")]


async def test_not_even_work_across_tenants_gives_things_away(session: AsyncSession) -> None:
    with across_tenants("test"):
        async with database.session_context() as everybody:
            thing = await everybody.scalar(select(Thing).where(Thing.tenant_id == ONE))
            assert thing is not None
            thing.tenant_id = OTHER
            with pytest.raises(CrossTenantError, match="cannot be given"):
                await everybody.flush()
            everybody.expunge_all()


# --- Over HTTP ---


async def test_the_tenant_comes_from_the_token_and_nowhere_else(
    client: AsyncClient, issuer: Issuer
) -> None:
    foreign = {"X-Tenant-ID": str(OTHER), "X-Tenant": str(OTHER)}
    path = f"{MINE}?tenant_id={OTHER}&tenant={OTHER}"
    assert (await client.get(path, headers=foreign)).json()["id"] == TENANT


async def test_no_request_inherits_the_tenant_of_another_one(client: AsyncClient) -> None:
    """A pipelined request begins in the context of the one before it."""
    with as_tenant(OTHER):
        assert (await client.get(MINE)).json()["id"] == TENANT


async def test_a_token_without_a_tenant_reaches_no_tenant(
    stranger: AsyncClient, issuer: Issuer
) -> None:
    answer = await stranger.get(MINE, headers=bearer(issuer.token()))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_an_unknown_tenant_may_be_refused(
    app: FastAPI, rolled_back: None, settings: Settings, issuer: Issuer
) -> None:
    strict = create_app(with_changes(settings, tenant_auto_create=False))
    headers = bearer(issuer.token(tenant=str(uuid4())))
    async with caller_of(strict, headers=headers) as caller:
        assert (await caller.get(ME)).status_code == 403


async def test_who_is_refused_is_limited_too(
    app: FastAPI, rolled_back: None, settings: Settings, issuer: Issuer
) -> None:
    changes = {"tenant_auto_create": False, "rate_limit_default": "1/day"}
    headers = bearer(issuer.token(tenant=str(uuid4())))
    async with caller_of(create_app(with_changes(settings, **changes)), headers=headers) as caller:
        assert [(await caller.get(ME)).status_code for _ in range(2)] == [403, 429]


async def test_a_suspended_tenant_stays_out(client: AsyncClient) -> None:
    assert (await client.get(MINE)).status_code == 200
    for suspended, status in ((True, 403), (False, 200)):
        with across_tenants("test"):
            async with HOME.session_context() as session:
                tenant = await session.get_one(Tenant, UUID(TENANT))
                await suspend_tenant(session, tenant, suspended=suspended)
        with as_tenant(UUID(TENANT)):
            assert not await directory.is_deleted(UUID(TENANT))  # its jobs let nobody in
        assert (await client.get(MINE)).status_code == status


async def test_a_tenant_is_remembered_for_a_while(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[UUID] = []

    async def find(tenant_id: UUID) -> Tenant:
        asked.append(tenant_id)
        return Tenant(id=tenant_id, slug="a", name="A", suspended_at=None)

    monkeypatch.setattr(directory, "_find", find)
    for _ in range(3):
        assert (await client.get(ME)).status_code == 200
    assert asked == [UUID(TENANT)]


async def test_deleting_a_tenant_removes_what_it_owns(client: AsyncClient) -> None:
    await client.get(MINE)
    await delete_tenant(UUID(TENANT))
    with across_tenants("test"):
        for each in DATABASES:
            async with each.session_context() as session:
                for table in each.metadata.sorted_tables:
                    if column := table.info.get(OWNED):
                        mine = select(table).where(table.c[column] == UUID(TENANT))
                        left = (await session.execute(mine)).all()
                        assert len(left) == (table.name == "tenants")


async def test_a_deleted_tenant_does_not_come_back(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens that name it are out there for a while."""
    assert (await client.get(MINE)).status_code == 200
    for _ in range(2):  # also when it is deleted again
        await delete_tenant(UUID(TENANT))
        answer = await client.get(MINE)
        assert (answer.status_code, answer.json()["detail"]) == (
            403,
            "The tenant of this token was deleted",
        )


LIMIT = {
    "postgresql": "SHOW statement_timeout",
    "mysql": "SELECT @@max_statement_time",
    "sqlite": "SELECT 0",
}


async def test_the_command_has_the_time_that_it_takes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rows of a tenant may be many."""
    limits: list[float] = []

    async def look(*_: object) -> None:
        with across_tenants("test"):
            async with HOME.read_session_context() as session:
                limits.append(float(await session.scalar(text(LIMIT[FLAVOUR.name])) or 0))

    monkeypatch.setattr(tenancy, "run", look)
    await tenancy._connected(settings, parse(["list"]))
    assert limits == [0]


async def test_nobody_takes_the_grave_of_a_tenant(client: AsyncClient) -> None:
    assert (await client.get(MINE)).status_code == 200
    with across_tenants("test"):
        async with HOME.session_context() as session:
            squatter = await create_tenant(session, f"deleted-{TENANT}", "Squatter")
    await delete_tenant(UUID(TENANT))
    assert not squatter.is_deleted
    assert not re.fullmatch(SLUG, grave_of(UUID(TENANT)))
    assert Tenant(id=UUID(TENANT), slug=f"deleted-{TENANT}").is_deleted  # from before


async def test_a_tenant_that_was_deleted_elsewhere_is_not_shown(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process remembers it for a while."""
    assert (await client.get(MINE)).status_code == 200
    monkeypatch.setattr(directory, "forget", lambda _: None)
    await delete_tenant(UUID(TENANT))
    assert (await client.get(MINE)).status_code == 404


async def test_without_a_database_only_known_tenants_come_in(
    empty_databases: Addresses,
    settings: Settings,
    issuer: Issuer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not every endpoint needs the database."""
    monkeypatch.setattr(tenants, "REMEMBERED_SECONDS", 0.0)
    known, unknown = (bearer(issuer.token(tenant=str(uuid4()))) for _ in range(2))
    async with line_to(empty_databases[HOME.variable]) as line:
        keep_none = line.url.startswith("sqlite")
        addresses = empty_databases | {HOME.variable: line.url}
        await asyncio.to_thread(migrate, addresses)
        app = create_app(with_changes(settings, **addresses, db_use_null_pool=keep_none))
        async with app.router.lifespan_context(app), caller_of(app) as caller:
            assert (await caller.get(ME, headers=known)).status_code == 200
            await line.cut()
            assert (await caller.get(ME, headers=known)).status_code == 200
            assert (await caller.get(ME, headers=unknown)).status_code == 503
            with as_tenant(someone := uuid4()):
                assert not await directory.is_deleted(someone)  # its jobs may need no database
            await line.mend()


async def test_what_is_kept_for_keys_goes_with_the_tenant(
    service: FastAPI, settings: Settings, issuer: Issuer, empty_databases: Addresses
) -> None:
    router = APIRouter(route_class=once(KEYS))

    @router.post("/things")
    async def make(session: SessionDep) -> str:
        return str(len((await session.scalars(select(Thing))).all()))

    app = create_app(with_changes(settings, **empty_databases), routers=[router])
    key = {"Idempotency-Key": "a-key"}
    async with app.router.lifespan_context(app):
        await make_tables(database, database.metadata)
        for tenant in (ONE, OTHER):
            async with caller_of(app, headers=bearer(issuer.token(tenant=str(tenant)))) as caller:
                answer = await caller.post("/api/v1/things", headers=key)
                assert answer.status_code == 200, answer.text
        assert await kept() == 2
        condition = KEYS.table.info[KEPT_FOR](ONE)
        async with database.session_context() as session:
            await session.execute(delete(KEYS.table).where(condition))
        assert await kept() == 1


async def kept() -> int:
    async with database.read_session_context() as session:
        return int(await session.scalar(select(func.count()).select_from(KEYS.table)) or 0)


async def test_every_table_of_keys_is_emptied_for_a_tenant(client: AsyncClient) -> None:
    await client.get(MINE)
    import_submodules("app.models")
    tables = [
        (each, table)
        for each in DATABASES
        for table in each.metadata.tables.values()
        if table.name.endswith("idempotency_keys")
    ]
    rest = {"request": "", "attempt": uuid4(), "expires_at": utc_now()}
    prefixes = [_realm_prefix(tenant) for tenant in (UUID(TENANT), OTHER)]
    for each, table in tables:
        async with each.session_context() as session:
            for prefix in prefixes:
                await session.execute(insert(table).values(id=f"{prefix:0<64}", **rest))
    await delete_tenant(UUID(TENANT))
    for each, table in tables:
        async with each.read_session_context() as session:
            left = [key[: len(prefixes[0])] for key in await session.scalars(select(table.c.id))]
        assert left == prefixes[1:]


async def test_tenants_are_looked_up_without_crossing(
    app: FastAPI, rolled_back: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug = f"acme-{uuid4().hex}"
    await run(parse(["create", slug, "Acme Inc."]), longest_job=0)
    monkeypatch.setattr("app.core.tenancy.scope.audit", None)  # a line would fail
    found = await find_tenant(slug)
    assert found is not None
    assert (found.slug, await find_tenant("nobody")) == (slug, None)


def test_a_tenant_is_made_while_developing(empty_databases: Addresses) -> None:
    def administrate(*arguments: str) -> str:
        command = ["-m", "app.core.development.command", "app.core.tenancy", *arguments]
        return subprocess.run(  # noqa: S603
            [sys.executable, *command],
            env={**os.environ, **as_environment(empty_databases)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    assert administrate("create", "acme", "Acme Ltd").endswith("  acme  active  Acme Ltd\n")
    assert "  acme  active  Acme Ltd\n" in administrate("list")


async def test_nothing_but_tenants_is_seen_that_way(service: FastAPI) -> None:
    with in_directory():
        for statement in (
            select(Thing),
            select(Tenant.id).join(Thing, Thing.tenant_id == Tenant.id),
            select(Tenant.id).where(Tenant.id.in_(select(Thing.tenant_id))),
            update(Tenant).values(name="taken"),
            delete(Tenant),
            text("SELECT * FROM tenants"),
        ):
            async with database.session_context() as session:
                with pytest.raises(CrossTenantError):
                    await session.execute(statement)
        async with database.session_context() as session:
            session.add(Thing(name="whose?"))
            with pytest.raises(NoTenantError):
                await session.flush()
            session.expunge_all()
        with pytest.raises(NoTenantError):
            ThingRepository(session).query()


async def test_administration_by_command(
    app: FastAPI,
    rolled_back: None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tenancy, "REMEMBERED_SECONDS", 0.2)
    slug = f"acme-{uuid4().hex}"

    async def administrate(*words: str) -> None:
        await run(parse([*words]), longest_job=0.2)

    await administrate("create", slug, "Acme Inc.")
    await administrate("suspend", slug)
    await administrate("list")
    assert capsys.readouterr().out.count(f"{slug}  suspended  Acme Inc.") == 2
    for wrong in (["create", slug, "Again"], ["create", "No Slug", "x"], ["suspend", "nobody"]):
        with pytest.raises(SystemExit):
            await administrate(*wrong)
    await administrate("resume", slug)
    capsys.readouterr()
    began = monotonic()
    await administrate("delete", slug)
    assert monotonic() - began >= 0.4
    kept_out, deleting, *_ = capsys.readouterr().out.splitlines()
    assert f"{slug}  suspended  Acme Inc." in kept_out
    assert deleting == "Deleting it in 0 s, when all know it is out"
    await administrate("list")
    listed = capsys.readouterr().out
    assert slug not in listed
    [grave] = re.findall(r"deleted:\S+", listed)
    await administrate("delete", grave)  # what was not waited for
    with pytest.raises(SystemExit):
        await administrate("resume", grave)


async def test_seeded_data_belongs_to_the_demonstration(app: FastAPI, rolled_back: None) -> None:
    seeded = set()
    for _ in range(2):
        async with as_demo_tenant():
            seeded.add(current_tenant())
            await seed()
    assert len(seeded) == 1


# --- Rules for models ---


def test_names_of_tenants_are_stable_ids() -> None:
    known = uuid4()
    assert identify("https://a.example", str(known)) == known
    assert identify("https://a.example", "org_1") == identify("https://a.example", "org_1")
    assert identify("https://a.example", "org_1") != identify("https://b.example", "org_1")


def test_nobody_takes_an_id_by_a_name_that_reads_like_it() -> None:
    made = identify("https://a.example", "org_1")
    known = uuid4()
    for name in (str(made), known.hex, str(known).upper(), f"{{{known}}}", f"urn:uuid:{known}"):
        assert identify("https://a.example", name) not in {made, known}


async def test_tables_of_tenants_are_made_for_it(app: FastAPI) -> None:
    for each in DATABASES:
        for table in each.metadata.tables.values():
            if table.info.get(OWNED) != "tenant_id":
                continue
            assert list(faults_of(table)) == [], table.name
            if each is HOME:
                owners = {key.target_fullname: key for key in table.c.tenant_id.foreign_keys}
                assert owners["tenants.id"].ondelete == "CASCADE"


def faults_of(table: Table) -> Iterator[str]:
    """What a table of tenants lacks or has too much of."""
    unique = [
        list(each.columns.keys())
        for each in (*table.constraints, *table.indexes)
        if isinstance(each, UniqueConstraint) or (isinstance(each, Index) and each.unique)
    ]
    if table.c.tenant_id.nullable:
        yield "belongs to nobody"
    if ["tenant_id", "id"] not in unique:
        yield "no foreign key can lead to a row and its tenant"
    yield from (f"{names} is not unique per tenant" for names in unique if names[0] != "tenant_id")
    for key in table.foreign_key_constraints:
        columns = {(element.parent.name, element.column.name) for element in key.elements}
        owned = key.referred_table.info.get(OWNED) == "tenant_id"
        if owned and ("tenant_id", "tenant_id") not in columns:
            yield f"{key.column_keys} may lead to another tenant"


def test_faulty_tables_of_tenants_are_seen() -> None:
    metadata = MetaData()
    parent = Table("parents", metadata, *columns(), info={OWNED: "tenant_id"})
    assert len(list(faults_of(parent))) == 1
    for part, expected in (
        (UniqueConstraint("name"), ["['name'] is not unique per tenant"]),
        (Index("ix_name", "name", unique=True), ["['name'] is not unique per tenant"]),
        (ForeignKeyConstraint(["name"], [parent.c.id]), ["['name'] may lead to another tenant"]),
        (ForeignKeyConstraint(["tenant_id", "name"], [parent.c.tenant_id, parent.c.id]), []),
    ):
        table = Table(
            f"of_{uuid4()}", metadata, *columns(), UniqueConstraint("tenant_id", "id"), part
        )
        assert list(faults_of(table)) == expected


def columns() -> list[Column[Any]]:
    return [
        Column("id", Uuid, primary_key=True),
        Column("tenant_id", Uuid, nullable=False),
        Column("name", Uuid),
    ]


async def test_operators_see_what_confines_tenants(client: AsyncClient) -> None:
    components = (await client.get("/health/detailed")).json()["components"]
    assert components["tenancy"]["status"] == "up"
    assert components["tenancy"]["details"]["confined_by"] in ("session", "row-level security")
