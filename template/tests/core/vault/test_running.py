"""A running service whose Vault changes, closes, goes away and comes back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from time import monotonic

import pytest
from fastapi import APIRouter, FastAPI
from httpx2 import AsyncClient
from pydantic import SecretStr
from sqlalchemy import text

from app.config import Settings
from app.core.application import create_app
from app.core.secrets import secrets
from app.core.settings import load_settings
from tests.core.first_database import SessionDep, database
from tests.core.issuing.base import Issuer, bearer
from tests.core.migrating import as_environment
from tests.core.plugin import Addresses, caller_of
from tests.core.vault.accounts import Account, account_of, forget_refused_connections
from tests.core.vault.conftest import Lines, enter
from tests.core.vault.servers import Place, Vault, new_place

PATIENCE = 30
PAUSE_SECONDS = 0.03
"""Between two questions of one who asks on and on: four of them ask a hundred times a second."""


async def until(happens: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for something that must come of itself."""
    end = monotonic() + PATIENCE
    while True:
        answer = happens()
        if answer if isinstance(answer, bool) else await answer:
            return
        assert monotonic() < end, "it never happened"
        await asyncio.sleep(0.02)


def has(name: str, value: str) -> Callable[[], bool]:
    return lambda: secrets.current(name) == SecretStr(value)


async def vault_is(app: FastAPI, state: str) -> bool:
    async with caller_of(app) as caller:
        answer = await caller.get("/ready")
    seen = answer.status_code, answer.json()["components"]["vault"]["status"]
    return seen == (200, state)


@asynccontextmanager
async def service(place: Place, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FastAPI]:
    """Run a service that gets what it needs from a place."""
    enter(place, monkeypatch)
    app = create_app(load_settings(Settings))
    async with app.router.lifespan_context(app):
        yield app


# --- values that change -----------------------------------------------------------------------


async def test_a_changed_value_is_taken_up_and_told(
    place: Place, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.change(JWT_SECRET="the first")  # noqa: S106
    async with service(place, monkeypatch) as app:
        heard: list[SecretStr | None] = []
        stop = secrets.on_change("JWT_SECRET", heard.append)
        place.change(JWT_SECRET="the second", JWT_SECRET_NEXT="new")  # noqa: S106
        await until(has("JWT_SECRET", "the second"))
        assert secrets.current("JWT_SECRET_NEXT") == SecretStr("new")
        stop()
        assert heard == [SecretStr("the second")]
        assert await vault_is(app, "up")
        assert "the second" not in f"{lines()} {secrets!r} {app.state.settings!r}"


async def test_what_the_environment_says_does_not_change(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "said by the environment")
    monkeypatch.setenv("GOOGLE_CLIENT_ID", "said by the environment")
    place.change(SECRET_KEY="x", GOOGLE_CLIENT_ID="x", DONE="no")  # noqa: S106
    async with service(place, monkeypatch):
        place.change(SECRET_KEY="y", GOOGLE_CLIENT_ID="y", DONE="yes")  # noqa: S106
        await until(has("DONE", "yes"))
        for name in ("SECRET_KEY", "GOOGLE_CLIENT_ID"):
            assert secrets.current(name) == SecretStr("said by the environment")


# --- the password of the database -------------------------------------------------------------


@pytest.fixture
def account(database_server: str, addresses: Addresses) -> Iterator[Account]:
    """An account of the database whose password the test may change."""
    with account_of(database_server, addresses[database.variable]) as account:
        yield account


def asking() -> APIRouter:
    router = APIRouter()

    @router.get("/ask")
    async def ask(session: SessionDep) -> int:
        return int(await session.scalar(text("SELECT 1")) or 0)

    return router


def signed_in(app: FastAPI, issuer: Issuer) -> AbstractAsyncContextManager[AsyncClient]:
    """A caller whose token is signed by what the service is told now."""
    return caller_of(app, headers=bearer(issuer.token()))


@asynccontextmanager
async def load_of(caller: AsyncClient, statuses: list[int]) -> AsyncIterator[None]:
    """Ask again and again, several at once."""
    enough = asyncio.Event()

    async def ask() -> None:
        while not enough.is_set():
            statuses.append((await caller.get("/api/v1/ask")).status_code)
            await asyncio.sleep(PAUSE_SECONDS)

    tasks = [asyncio.create_task(ask()) for _ in range(4)]
    try:
        yield
    finally:
        enough.set()
        await asyncio.gather(*tasks)


async def more_of(statuses: list[int]) -> None:
    enough = len(statuses) + 20
    await until(lambda: len(statuses) > enough)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("vault_first", "keeps_connections"),
    [(True, True), (True, False), (False, True)],
    ids=["vault_first", "vault_first_and_no_pool", "database_first"],
)
async def test_a_changed_password_of_the_database_fails_no_request(
    place: Place,
    account: Account,
    issuer: Issuer,
    monkeypatch: pytest.MonkeyPatch,
    vault_first: bool,
    keeps_connections: bool,
) -> None:
    name = database.variable.upper()
    place.change(**{name: account.url})
    monkeypatch.setenv("DB_USE_NULL_POOL", str(not keeps_connections))
    enter(place, monkeypatch)
    app = create_app(load_settings(Settings), routers=[asking()])
    statuses: list[int] = []
    async with app.router.lifespan_context(app), signed_in(app, issuer) as caller:
        async with load_of(caller, statuses):
            await more_of(statuses)
            for _ in range(2):
                new = account.with_new_password()
                steps = [partial(place.change, **{name: new.url}), partial(account.apply, new)]
                for step in steps if vault_first else reversed(steps):
                    await asyncio.to_thread(step)
                await until(has(name, new.url))
                await more_of(statuses)
        # Nothing of the old password is left, and every kind of connection works.
        await database.engine.dispose()
        assert (await caller.get("/api/v1/ask")).json() == 1
        ready = await caller.get("/ready")
        assert ready.json()["components"][database.name]["status"] == "up"
    assert set(statuses) == {200}
    await asyncio.sleep(0.01)
    forget_refused_connections()


async def test_an_address_that_is_none_is_not_taken_up(
    place: Place, lines: Lines, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_USE_NULL_POOL", "true")
    enter(place, monkeypatch)
    app = create_app(load_settings(Settings), routers=[asking()])
    async with app.router.lifespan_context(app), signed_in(app, issuer) as caller:
        before = secrets.current(database.variable)
        place.change(**{database.variable.upper(): "oracle://user:hunter2@host/name"})
        await until(lambda: "a new secret is refused" in [line["event"] for line in lines()])
        assert secrets.current(database.variable) == before
        assert (await caller.get("/api/v1/ask")).json() == 1
        assert "hunter2" not in str(lines())


# --- trouble ----------------------------------------------------------------------------------


async def test_a_closed_vault_costs_nothing_but_news(
    sealable: Vault, addresses: Addresses, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = new_place(sealable)
    place.write(JWT_SECRET="the first", **as_environment(addresses))  # noqa: S106
    async with service(place, monkeypatch) as app:
        sealable.seal()
        await until(lambda: vault_is(app, "degraded"))
        assert secrets.current("JWT_SECRET") == SecretStr("the first")
        sealable.unseal()
        place.change(JWT_SECRET="the second")  # noqa: S106
        await until(has("JWT_SECRET", "the second"))
        assert await vault_is(app, "up")
    first, *news = lines()
    assert first["event"] == "settings were read"
    assert news[0]["reason"].endswith("is sealed: vault operator unseal")
    # Each change once. Before a server is active again it may say no once more.
    assert {line["event"] for line in news[::2]} == {"vault is out of reach: the last values stay"}
    assert {line["event"] for line in news[1::2]} == {"vault answers again"}
    assert len(news) < 2 * 3


async def test_a_restart_of_vault_is_survived(
    sealable: Vault, addresses: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = new_place(sealable)
    place.write(**as_environment(addresses))
    async with service(place, monkeypatch) as app:
        sealable.stop()
        await until(lambda: vault_is(app, "degraded"))
        sealable.start()
        sealable.unseal()
        place.change(JWT_SECRET="after")  # noqa: S106
        await until(has("JWT_SECRET", "after"))


async def test_a_token_lives_as_long_as_the_service(
    vault: Vault, addresses: Addresses, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renewed while that helps, then replaced by a new login, before any request is refused."""
    place = new_place(vault, token_ttl="3s", token_max_ttl="6s")  # noqa: S106
    place.write(**as_environment(addresses))
    async with service(place, monkeypatch) as app:
        for count in range(3):
            await asyncio.sleep(3)
            place.change(COUNT=str(count))
            await until(has("COUNT", str(count)))
            assert await vault_is(app, "up")
    assert [line for line in lines() if line["event"] != "settings were read"] == []


async def test_a_token_that_ends_is_announced_and_its_values_stay(
    place: Place, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = place.vault.root.auth.token.create(
        policies=[place.path], ttl="6s", explicit_max_ttl="6s", no_parent=True
    )
    for name in ("VAULT_ROLE_ID", "VAULT_SECRET_ID"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("VAULT_TOKEN", made["auth"]["client_token"])
    app = create_app(load_settings(Settings))
    async with app.router.lifespan_context(app):
        await until(lambda: vault_is(app, "degraded"))
        assert secrets.current(database.variable) is not None
    assert sorted(str(line["event"]) for line in lines()) == [
        "VAULT_TOKEN ends soon and cannot be renewed",
        "settings were read",
        "vault is out of reach: the last values stay",
    ]


async def test_a_token_that_was_revoked_is_replaced(
    place: Place, running: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = place.vault.root
    for accessor in root.auth.token.list_accessors()["data"]["keys"]:
        known = root.auth.token.lookup_accessor(accessor)["data"]
        if place.path in known["policies"]:
            root.auth.token.revoke_accessor(accessor)
    place.change(JWT_SECRET="after")  # noqa: S106
    await until(has("JWT_SECRET", "after"))


async def test_a_secret_that_was_removed_leaves_the_last_values(
    place: Place, running: FastAPI
) -> None:
    kv = place.vault.root.secrets.kv.v2
    kv.delete_latest_version_of_secret(place.path)
    await until(lambda: vault_is(running, "degraded"))
    assert secrets.current(database.variable) is not None
    kv.undelete_secret_versions(place.path, [1])
    await until(lambda: vault_is(running, "up"))
