"""What callers notice of their provider's outages and of new keys."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response

from app.config import Settings
from app.core.application import create_app
from app.core.auth import remote_keys as module
from tests.core.clock import Clock
from tests.core.issuing.base import bearer
from tests.core.issuing.provider import issuing
from tests.core.issuing.remote import RemoteIssuer
from tests.core.issuing.signing import SigningKey, compact
from tests.core.plugin import caller_of, with_changes

ME = "/api/v1/auth/me"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    monkeypatch.setattr(module, "FETCH_TIMEOUT_SECONDS", 60)  # which goes by the real clock
    return clock


@pytest.fixture
def provider() -> Iterator[RemoteIssuer]:
    """A provider that nobody has asked yet."""
    with issuing() as provider:
        yield provider


@pytest.fixture
async def caller(
    settings: Settings, provider: RemoteIssuer, clock: Clock, rolled_back: None
) -> AsyncIterator[AsyncClient]:
    """A caller of a service of this provider."""
    async with caller_of(create_app(of_provider(settings, provider)), headers={}) as caller:
        yield caller


def of_provider(settings: Settings, provider: RemoteIssuer) -> Settings:
    named = {name.lower(): value for name, value in provider.variables.items()}
    return with_changes(settings, **named)


async def ask(caller: AsyncClient, token: str) -> Response:
    return await caller.get(ME, headers=bearer(token))


async def health(caller: AsyncClient) -> str:
    return str((await caller.get("/ready")).json()["components"]["auth"]["status"])


def with_key_id(provider: RemoteIssuer, key_id: str) -> str:
    header = {"alg": provider.key.algorithm, "kid": key_id}
    return compact(header, provider.claims(), provider.key.sign)


def fetched(provider: RemoteIssuer) -> int:
    return sum("keys" in path or "jwks" in path for path in provider.asked)


@pytest.mark.parametrize("broken", ["away", b"", b"{}", None], ids=str)
async def test_a_provider_that_is_down_at_first(
    broken: bytes | str | None, caller: AsyncClient, provider: RemoteIssuer, clock: Clock
) -> None:
    answers = dict(provider.answers)
    if isinstance(broken, str):
        provider.stop()
    else:
        provider.answers = dict.fromkeys(answers, lambda: broken)
    forged = compact({"alg": "none", "kid": "a"}, provider.claims(), lambda _: b"")
    for _ in range(3):
        answer = await ask(caller, provider.token())
        assert answer.status_code == 503
        assert answer.json()["code"] == "service_unavailable"
        assert int(answer.headers["Retry-After"]) > 0
        assert "127.0.0.1" not in answer.text
        assert (await ask(caller, forged)).status_code == 401
        assert (await caller.get(ME)).status_code == 401
        assert (await caller.get("/health")).status_code == 200
    assert await health(caller) == "degraded"
    provider.answers = answers
    if isinstance(broken, str):
        provider.start()
    clock.now += module.RETRY_SECONDS
    assert (await ask(caller, provider.token())).status_code == 200


async def test_the_keys_are_there_before_the_first_caller(
    settings: Settings, app: FastAPI, provider: RemoteIssuer
) -> None:
    service = create_app(of_provider(settings, provider))
    async with service.router.lifespan_context(service):
        assert fetched(provider) == 1


async def test_a_provider_that_is_down_later(
    caller: AsyncClient, provider: RemoteIssuer, clock: Clock
) -> None:
    assert (await ask(caller, provider.token())).status_code == 200
    assert await health(caller) == "up"
    provider.stop()
    for _ in range(10):
        clock.now += module.LIFESPAN_SECONDS
        assert (await ask(caller, provider.token("ada"))).json()["subject"] == "ada"
        assert (await ask(caller, with_key_id(provider, "unknown"))).status_code == 401


async def test_a_thousand_unknown_keys_cause_one_fetch(
    caller: AsyncClient, provider: RemoteIssuer, clock: Clock
) -> None:
    assert (await ask(caller, provider.token())).status_code == 200
    assert fetched(provider) == 1
    clock.now += module.COOLDOWN_SECONDS
    forged = [with_key_id(provider, f"unknown-{number}") for number in range(1000)]
    for token in forged[:500]:
        assert (await ask(caller, token)).status_code == 401
    answers = await asyncio.gather(*(ask(caller, token) for token in forged[500:]))
    assert {answer.status_code for answer in answers} == {401}
    assert fetched(provider) == 2
    assert (await ask(caller, provider.token())).status_code == 200


async def test_a_token_goes_with_its_key(
    caller: AsyncClient, provider: RemoteIssuer, clock: Clock
) -> None:
    old = provider.token()
    assert (await ask(caller, old)).status_code == 200
    provider.keys[:] = [SigningKey(provider.algorithm)]
    clock.now += module.LIFESPAN_SECONDS
    assert (await ask(caller, provider.token())).status_code == 200
    assert (await ask(caller, old)).status_code == 401


async def test_a_key_is_rotated_in_mid_flight(
    caller: AsyncClient, provider: RemoteIssuer, clock: Clock
) -> None:
    assert (await ask(caller, provider.token())).status_code == 200
    clock.now += module.COOLDOWN_SECONDS
    old = [provider.token(f"old-{number}") for number in range(50)]
    provider.keys.append(SigningKey(provider.algorithm))
    new = [provider.token(f"new-{number}") for number in range(50)]
    forged = [with_key_id(provider, f"unknown-{number}") for number in range(50)]
    mixed = [token for tokens in zip(old, new, forged, strict=True) for token in tokens]
    answers = await asyncio.gather(*(ask(caller, token) for token in mixed))
    assert [answer.status_code for answer in answers] == [200, 200, 401] * 50
    assert fetched(provider) == 2


async def test_a_key_that_is_taken_back_lets_nobody_in(
    caller: AsyncClient, provider: RemoteIssuer, clock: Clock
) -> None:
    stolen = provider.token()
    assert (await ask(caller, stolen)).status_code == 200
    provider.keys = [SigningKey(provider.algorithm)]
    clock.now += module.LIFESPAN_SECONDS
    assert (await ask(caller, provider.token())).status_code == 200
    assert (await ask(caller, stolen)).status_code == 401


async def test_a_provider_with_hundreds_of_keys(
    caller: AsyncClient, provider: RemoteIssuer
) -> None:
    more = [SigningKey("ES256") for _ in range(400)]
    provider.keys = [*more[:200], provider.key, *more[200:], SigningKey(provider.algorithm)]
    assert (await ask(caller, provider.token())).status_code == 200
    provider.keys.append(provider.keys[200])
    assert (await ask(caller, provider.token())).status_code == 200


async def test_a_key_that_is_too_short_is_not_believed(
    caller: AsyncClient, provider: RemoteIssuer
) -> None:
    weak = SigningKey("RS256", size=1024)
    provider.keys.insert(0, weak)
    header = {"alg": "RS256", "kid": weak.id}
    token = compact(header, provider.claims(), weak.sign)
    assert (await ask(caller, token)).status_code == 401
    assert (await ask(caller, provider.token())).status_code == 200


async def test_a_provider_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sends a byte now and then, so no single read takes too long."""
    monkeypatch.setattr(module, "FETCH_TIMEOUT_SECONDS", 0.3)

    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            writer.close()

    server = await asyncio.start_server(trickle, "127.0.0.1", 0)
    keys = module.RemoteKeys(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks")
    async with asyncio.timeout(10):
        await keys.refresh()
    assert len(keys) == 0
    server.close()


async def test_a_key_that_is_nonsense_takes_no_other_with_it(
    caller: AsyncClient, provider: RemoteIssuer
) -> None:
    [place] = [path for path in provider.answers if "keys" in path or "jwks" in path]
    before = json.loads(provider.answers[place]() or b"")
    odd = {**before["keys"][0], "kid": "odd", "alg": ["RS256"]}
    provider.answers[place] = lambda: json.dumps({"keys": [odd, *before["keys"]]}).encode()
    assert (await ask(caller, provider.token())).status_code == 200
