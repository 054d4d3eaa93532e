"""The keys of an issuer elsewhere: what is fetched when, and what is kept."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from app.core.auth import remote_keys as module
from app.core.auth.remote_keys import RemoteKeys
from app.core.errors import ServiceUnavailableError
from tests.core.clock import Clock
from tests.core.issuing.__main__ import certify
from tests.core.issuing.remote import RemoteIssuer
from tests.core.issuing.signing import SigningKey


@pytest.fixture
def issuer() -> Iterator[RemoteIssuer]:
    paths = {"/keys": "key_set", "/discovery": "discovery"}
    with RemoteIssuer("ES256", paths, dict, dict).running() as issuer:
        yield issuer


@pytest.fixture
def keys(issuer: RemoteIssuer) -> RemoteKeys:
    return RemoteKeys(f"{issuer.url}/keys")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    return clock


async def settle(keys: RemoteKeys) -> None:
    """Wait for a fetch that runs behind one's back."""
    if keys._fetching is not None:
        await keys._fetching


async def test_many_at_once_fetch_once(issuer: RemoteIssuer, keys: RemoteKeys) -> None:
    found = await asyncio.gather(*(keys.find(issuer.keys[0].id) for _ in range(100)))
    assert all(found)
    assert issuer.asked == ["/keys"]


async def test_unknown_keys_are_asked_for_once_in_a_while(
    issuer: RemoteIssuer, keys: RemoteKeys, clock: Clock
) -> None:
    await keys.refresh()
    for number in range(1000):
        clock.now += 0.0299  # not quite half a minute in all
        assert await keys.find(f"made-up-{number}") is None
    assert len(issuer.asked) == 1
    clock.now += 1
    assert await asyncio.gather(*(keys.find(f"x{number}") for number in range(1000)))
    assert len(issuer.asked) == 2


async def test_a_new_key_is_found(issuer: RemoteIssuer, keys: RemoteKeys, clock: Clock) -> None:
    await keys.refresh()
    issuer.keys.append(SigningKey("ES256"))
    clock.now += module.COOLDOWN_SECONDS
    assert await keys.find(issuer.keys[1].id)


async def test_a_key_that_is_taken_back_is_forgotten(
    issuer: RemoteIssuer, keys: RemoteKeys, clock: Clock
) -> None:
    await keys.refresh()
    old = issuer.keys.pop()
    issuer.keys.append(SigningKey("ES256"))
    clock.now += module.LIFESPAN_SECONDS
    assert await keys.find(old.id)  # answered at once, while the new ones are fetched
    await settle(keys)
    assert await keys.find(old.id) is None


async def test_an_outage_takes_no_keys_away(
    issuer: RemoteIssuer, keys: RemoteKeys, clock: Clock
) -> None:
    await keys.refresh()
    issuer.stop()
    for _ in range(5):
        clock.now += module.LIFESPAN_SECONDS
        assert await keys.find(issuer.keys[0].id)
        await settle(keys)
    assert not keys.fresh
    issuer.start()
    clock.now += module.COOLDOWN_SECONDS
    await keys.refresh()
    assert keys.fresh


@pytest.mark.parametrize(
    "broken",
    [
        None,
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"keys": []}',
        b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}]}',
        b'{"keys": [{"kty": "EC"}]}',
        b"[" * 100_000,
    ],
)
async def test_a_broken_set_replaces_nothing(
    issuer: RemoteIssuer, keys: RemoteKeys, clock: Clock, broken: bytes | None
) -> None:
    await keys.refresh()
    issuer.answers["/keys"] = lambda: broken
    clock.now += module.LIFESPAN_SECONDS
    await keys.refresh()
    assert issuer.asked == ["/keys", "/keys"]
    assert await keys.find(issuer.keys[0].id)
    assert not keys.fresh


@pytest.mark.parametrize(("size", "taken"), [(200_000, True), (300_000, False)])
async def test_a_document_without_end_is_not_read(
    size: int, taken: bool, issuer: RemoteIssuer, keys: RemoteKeys
) -> None:
    issuer.answers["/keys"] = lambda: issuer.key_set() + b" " * size
    await keys.refresh()
    assert (len(keys) == 1) == taken


async def test_without_any_key_nobody_can_tell(issuer: RemoteIssuer, keys: RemoteKeys) -> None:
    issuer.stop()
    with pytest.raises(ServiceUnavailableError):
        await keys.find("any")


async def test_the_issuer_says_where_its_keys_are(issuer: RemoteIssuer) -> None:
    keys = RemoteKeys(f"{issuer.url}/discovery", issuer=issuer.url)
    assert await keys.find(issuer.keys[0].id)
    assert issuer.asked == ["/discovery", "/keys"]


async def test_the_document_of_another_issuer_is_refused(issuer: RemoteIssuer) -> None:
    for other in "https://login.example.com", f"{issuer.url}/":
        keys = RemoteKeys(f"{issuer.url}/discovery", issuer=other)
        with pytest.raises(ServiceUnavailableError):
            await keys.find(issuer.keys[0].id)


async def test_keys_that_do_not_sign_are_left_out(issuer: RemoteIssuer, keys: RemoteKeys) -> None:
    other = {**SigningKey("ES256").public, "use": "enc"}
    issuer.answers["/keys"] = lambda: json.dumps({"keys": [issuer.keys[0].public, other]}).encode()
    assert await keys.find(None)
    assert len(keys) == 1


async def test_a_private_key_that_is_published_is_left_out(
    issuer: RemoteIssuer, keys: RemoteKeys
) -> None:
    private = json.loads(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1())))
    published = {"keys": [issuer.key.public, {**private, "kid": "private"}]}
    issuer.answers["/keys"] = lambda: json.dumps(published).encode()
    assert await keys.find("private") is None
    assert await keys.find(issuer.key.id)


async def test_keys_are_only_fetched_where_the_issuer_is_as_safe(
    issuer: RemoteIssuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = certify(tmp_path / "issuer.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    paths = {"/keys": "key_set", "/discovery": "discovery"}
    with RemoteIssuer("ES256", paths, dict, dict, certificate).running() as safe:
        own = RemoteKeys(f"{safe.url}/discovery", issuer=safe.url)
        assert await own.find(safe.key.id)
        document = {"issuer": safe.url, "jwks_uri": f"{issuer.url}/keys"}
        safe.answers["/discovery"] = lambda: json.dumps(document).encode()
        others = RemoteKeys(f"{safe.url}/discovery", issuer=safe.url)
        with pytest.raises(ServiceUnavailableError):
            await others.find(issuer.key.id)
