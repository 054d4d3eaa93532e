"""One login at a real Vault, shared by threads and by whoever looks for changes."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import monotonic
from typing import Any

import pytest
import requests
from hvac.exceptions import Forbidden
from sqlalchemy import make_url
from stamina import instrumentation

from app.config import Settings
from app.core.secrets import Secret, SecretsUnavailableError
from app.core.secrets.vault import store
from app.core.secrets.vault.address import VaultAddress
from app.core.secrets.vault.session import Session
from app.core.secrets.vault.store import VaultStore
from app.core.settings import load_settings
from tests.core.outages import Relay
from tests.core.vault.servers import Place, Vault, new_place

THREADS = 8


def session_at(place: Place, **changes: str) -> Session:
    variables = {**place.environment(), **changes}
    given = {name.lower(): value for name, value in variables.items()}
    return Session(VaultAddress.model_validate(given))


def counted(session: Session) -> list[str]:
    """Note the token of each login from now on."""
    tokens: list[str] = []
    log_in = session._log_in
    assert log_in is not None

    def noted() -> Any:
        answer = log_in()
        tokens.append(session._client.token)
        return answer

    session._log_in = noted
    return tokens


def at_once(work: Callable[[], Any]) -> list[Any]:
    """Do something in several threads that begin together."""
    barrier = Barrier(THREADS)

    def begin() -> Any:
        barrier.wait(60)
        return work()

    with ThreadPoolExecutor(THREADS) as pool:
        return [each.result(60) for each in [pool.submit(begin) for _ in range(THREADS)]]


def test_several_threads_log_in_once(place: Place) -> None:
    session = session_at(place)
    tokens = counted(session)
    at_once(session.ensure)
    assert len(tokens) == 1


def test_several_threads_replace_a_dead_token_once(place: Place) -> None:
    session = session_at(place)
    session.ensure()
    tokens = counted(session)
    place.vault.root.auth.token.revoke(session._client.token)
    assert None not in at_once(session.read_own)
    assert tokens == [session._client.token]


def test_a_forked_process_shares_neither_connection_nor_lock(place: Place) -> None:
    """It would be given answers of the other one, or wait for a thread that it does not have."""
    forked = subprocess.run(
        [sys.executable, "-m", "tests.core.vault.forked"],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
    )
    assert forked.returncode == 0, forked.stdout


@pytest.fixture
async def line(vault: Vault) -> AsyncIterator[Relay]:
    """What stands between a session and Vault."""
    relay = Relay(make_url(f"vault://127.0.0.1:{vault.port}"))
    await relay.mend()
    yield relay
    await relay.cut()


async def test_a_renewal_that_gets_no_answer_is_not_waited_for_by_each(
    place: Place, line: Relay
) -> None:
    session = session_at(place, VAULT_ADDR=f"http://127.0.0.1:{line.port}", VAULT_TIMEOUT="0.5")
    await asyncio.to_thread(session.ensure)
    session._renew_at = float("-inf")
    line.flowing.clear()
    tried: list[requests.Timeout] = []

    def ensure() -> None:
        try:
            session.ensure()
        except requests.Timeout as error:
            tried.append(error)

    await asyncio.to_thread(at_once, ensure)
    assert len(tried) == 1
    assert session.seconds_left() > session.seconds_to_renewal() > 0
    line.flowing.set()
    session._renew_at = float("-inf")
    await asyncio.to_thread(session.ensure)


async def test_a_question_ends_even_if_vault_never_answers(
    place: Place, line: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_LONGEST", 0.2)
    session = session_at(place, VAULT_ADDR=f"http://127.0.0.1:{line.port}")
    line.flowing.clear()
    asked = [VaultStore(session, 60, lambda _: None).get("keys/stripe", None) for _ in range(9)]
    began = monotonic()
    refusals = await asyncio.gather(*asked, return_exceptions=True)
    assert monotonic() - began < session.address.vault_timeout
    line.flowing.set()
    for refusal in refusals:
        assert isinstance(refusal, SecretsUnavailableError)
        assert isinstance(refusal.__cause__, TimeoutError)
        assert "does not answer" in session.explain(refusal.__cause__)


def test_what_the_policy_forbids_needs_no_other_login(place: Place) -> None:
    session = session_at(place)
    session.ensure()
    tokens = counted(session)
    with pytest.raises(Forbidden):
        session.call(lambda client: client.sys.list_policies())
    assert tokens == []


async def test_a_login_that_is_refused_is_an_outage_to_whoever_asks(place: Place) -> None:
    session = session_at(place, VAULT_SECRET_ID="no longer valid")  # noqa: S106
    store = VaultStore(session, 60, lambda _: None)
    with pytest.raises(SecretsUnavailableError):
        await store.get("keys/stripe", None)
    with pytest.raises(SecretsUnavailableError):
        await store.put("keys/stripe", {"KEY": "x"}, 0)


async def test_a_store_without_the_service_s_secret_does_not_start(vault: Vault) -> None:
    store = VaultStore(session_at(new_place(vault)), 60, lambda _: None)
    with pytest.raises(RuntimeError, match="has nothing at"):
        await store.start()


async def test_one_look_is_enough_for_all_who_want_to_know(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_at(place)
    looks: list[Secret | None] = []

    def look() -> Secret | None:
        looks.append(Session.read_own(session))
        return looks[-1]

    monkeypatch.setattr(session, "read_own", look)
    store = VaultStore(session, 60, lambda _: None)
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(store.refresh())
    assert len(looks) == 1


def test_reading_settings_leaves_the_log_of_retries_alone(place: Place) -> None:
    before = instrumentation.get_on_retry_hooks()
    assert before
    load_settings(Settings)
    assert instrumentation.get_on_retry_hooks() == before
