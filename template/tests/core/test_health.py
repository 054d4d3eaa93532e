import asyncio

import pytest
from fastapi import Depends, FastAPI
from httpx2 import AsyncClient, Response

from app.config import Settings
from app.core import health
from app.core.application import create_app
from app.core.database.handle import Database
from app.core.database.layout import DATABASES
from app.core.health import Health
from app.core.piece import Check, Details, Piece
from app.core.registry import PIECES
from tests.core.outages import line_to
from tests.core.plugin import Addresses, caller_of, with_changes


def migrations_of(database: Database) -> str:
    return database.name.replace("database", "migrations")


PATIENCE = 4.0
"""Seconds that `docker/healthcheck.py` waits."""
NOT_RUN = {"redis"}
"""What the tests of the whole service do without, and can (see `tests/core/without_servers.py`)."""
COMPONENTS = {name for each in DATABASES for name in (each.name, migrations_of(each))}


async def test_health_says_that_the_process_lives(client: AsyncClient, settings: Settings) -> None:
    for path in ("/health", f"{settings.api_v1_str}/public/health"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


def test_no_component_is_waited_for_longer_than_a_container_waits(settings: Settings) -> None:
    checks = [check for piece in PIECES for check in piece.checks]
    for piece in PIECES:
        checks += piece.further_checks(settings) if piece.further_checks else ()
    assert checks
    assert [each.name for each in checks if each.timeout >= PATIENCE] == []


async def test_nothing_keeps_a_process_from_saying_that_it_lives(settings: Settings) -> None:
    async def fail() -> None:
        raise ConnectionError

    broken = Piece(name="broken", dependencies=lambda _: [Depends(fail)])
    async with caller_of(create_app(settings, pieces=(*PIECES, broken))) as caller:
        assert (await caller.get("/ready")).status_code == 500
        assert (await caller.get("/health")).status_code == 200


async def test_ready_names_every_component(client: AsyncClient, settings: Settings) -> None:
    for path in ("/ready", f"{settings.api_v1_str}/public/health/ready"):
        answer = await client.get(path)
        body = answer.json()
        assert answer.status_code == 200
        assert body["status"] == "ready"
        assert body["components"].keys() >= COMPONENTS
        for name, component in body["components"].items():
            assert component["status"] == ("degraded" if name in NOT_RUN else "up")
            assert component["latency_ms"] >= 0


@pytest.mark.parametrize("path", ["/health", "/ready", "/public/health", "/public/health/ready"])
async def test_load_balancers_may_ask_by_head(
    client: AsyncClient, settings: Settings, path: str
) -> None:
    prefix = settings.api_v1_str if path.startswith("/public") else ""
    assert (await client.head(f"{prefix}{path}")).status_code == 200


async def test_detailed_health_helps_an_operator(client: AsyncClient) -> None:
    body = (await client.get("/health/detailed")).json()
    assert body["runtime"].keys() == {"python", "fastapi", "sqlalchemy"}
    for database in DATABASES:
        assert "pool" in body["components"][database.name]["details"]
        assert "revision" in body["components"][migrations_of(database)]["details"]


async def test_detailed_health_is_for_the_internal_network_only(app: FastAPI) -> None:
    async with caller_of(app, "203.0.113.9") as stranger:
        answer = await stranger.get("/health/detailed")
    assert answer.status_code == 403
    assert answer.json()["code"] == "forbidden"
    assert "components" not in answer.json()


async def details_with(settings: Settings, **replica: str) -> Response:
    app = create_app(with_changes(settings, **replica))
    async with app.router.lifespan_context(app), caller_of(app) as caller:
        return await caller.get("/health/detailed")


@pytest.mark.parametrize("database", DATABASES, ids=lambda each: each.name)
async def test_a_replica_is_a_component_of_its_own(
    settings: Settings, addresses: Addresses, database: Database
) -> None:
    answer = await details_with(
        settings, **{database.replica_variable: addresses[database.variable]}
    )
    components = answer.json()["components"]
    replicas = {name for name in components if name.endswith("replica")}
    assert (answer.status_code, replicas) == (200, {database.replica_name})
    details = components[database.replica_name]["details"]
    assert details["revision"] == components[migrations_of(database)]["details"]["revision"]
    assert details["pool"].keys() == components[database.name]["details"]["pool"].keys()


@pytest.mark.parametrize("database", DATABASES, ids=lambda each: each.name)
async def test_a_service_without_its_replica_is_not_ready(
    settings: Settings, addresses: Addresses, database: Database
) -> None:
    async with line_to(addresses[database.variable]) as line:
        await line.cut()
        answer = await details_with(settings, **{database.replica_variable: line.url})
    components = answer.json()["components"]
    states = [components[name]["status"] for name in (database.name, database.replica_name)]
    assert (answer.status_code, states) == (503, ["up", "down"])


@pytest.mark.parametrize("database", DATABASES, ids=lambda each: each.name)
async def test_a_replica_lacks_the_migrations_that_the_main_database_would_lack(
    settings: Settings, empty_databases: Addresses, database: Database
) -> None:
    empty = empty_databases[database.variable]
    everywhere = dict.fromkeys((database.variable, database.replica_variable), empty)
    components = (await details_with(settings, **everywhere)).json()["components"]
    # Without any migrations, nothing is missing.
    names = (migrations_of(database), database.replica_name)
    assert len({components[name]["status"] for name in names}) == 1


async def _down(_: object) -> Details:
    raise ConnectionError("no route to 10.1.2.3")


async def _slow(_: object) -> Details:
    await asyncio.Event().wait()
    return {}


@pytest.mark.parametrize(
    ("check", "state", "status"),
    [
        (Check(name="needed", probe=_down), "down", 503),
        (Check(name="needed", probe=_slow, timeout=0.01), "down", 503),
        (Check(name="helpful", probe=_down, required=False), "degraded", 200),
    ],
    ids=["down", "slow", "degraded"],
)
async def test_a_failing_component_is_named_without_its_reason(
    app: FastAPI, settings: Settings, check: Check, state: str, status: int
) -> None:
    other = create_app(settings)
    other.state.health = Health(settings, [check])
    async with caller_of(other) as caller:
        answer = await caller.get("/ready")
    assert answer.status_code == status
    assert answer.json()["components"][check.name]["status"] == state
    assert "10.1.2.3" not in answer.text


async def test_a_probe_that_was_given_up_is_kept_only_until_it_ends(settings: Settings) -> None:
    may_end = asyncio.Event()

    async def stubborn(_: object) -> Details:
        try:
            return await _slow(None)
        finally:
            await may_end.wait()

    health = Health(settings, [Check(name="needed", probe=stubborn, timeout=0.01)])
    await health.report()
    (given_up,) = health._abandoned
    may_end.set()
    await asyncio.wait([given_up])
    assert not health._abandoned


async def test_many_probes_share_one_look(settings: Settings) -> None:
    asked = 0

    async def count(_: object) -> Details:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return {}

    report = Health(settings, [Check(name="counted", probe=count)]).report
    await asyncio.gather(*(report() for _ in range(20)))
    assert asked == 1


async def test_an_old_look_is_not_reported(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = iter([{"look": 1}, {"look": 2}])

    async def look(_: object) -> Details:
        return next(states)

    asked = Health(settings, [Check(name="seen", probe=look)])
    await asked.report()
    monkeypatch.setattr(health, "CACHE_SECONDS", 0.0)
    assert (await asked.report())["seen"].details == {"look": 2}
