"""The keys that sign tokens: derived from secrets, published, and rotated without a failure."""

import asyncio
import itertools
import json

import jwt
import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from jwt import PyJWKSet
from pydantic import SecretStr

from app.config import Settings
from app.core.application import create_app
from app.core.auth.local.keys import KeyPair, OwnKeys, read_secrets
from app.core.auth.tokens import LEEWAY_SECONDS
from app.core.secrets import secrets
from app.core.settings import DEVELOPMENT_SECRET
from tests.core.clock import Clock
from tests.core.issuing.base import Issuer, bearer
from tests.core.local.people import AUTH
from tests.core.plugin import caller_of, with_changes

JWKS = "/.well-known/jwks.json"
OLD, NOW, NEXT = ("old " * 10, "now " * 10, "next " * 10)


def with_secrets(settings: Settings, **given: str | None) -> Settings:
    names = ("current", "previous", "next")
    fields = {"current": "jwt_secret"} | {name: f"jwt_secret_{name}" for name in names[1:]}
    return with_changes(settings, **{fields[name]: given.get(name) for name in names})


def token(settings: Settings) -> str:
    claims = {"iss": settings.jwt_issuer, "aud": settings.jwt_audience, "sub": "ada", "exp": 2**32}
    return OwnKeys(settings).sign(claims)


async def accepts(settings: Settings, given: str) -> bool:
    async with caller_of(create_app(settings), headers=bearer(given)) as caller:
        return (await caller.get(f"{AUTH}/me")).status_code == 200


async def published(app: FastAPI) -> list[str]:
    async with caller_of(app, headers={}) as caller:
        return [each["kid"] for each in (await caller.get(JWKS)).json()["keys"]]


def test_a_secret_always_gives_the_same_key() -> None:
    # So that every process has it, today and after any update.
    assert (
        KeyPair("a secret").id
        == KeyPair("a secret").id
        == "lV5-xUk4-nXPsmtxdyYye5DRWYRr4qfBUWwOR-nIhj8"
    )
    assert KeyPair("a secret").id != KeyPair("A secret").id


def test_the_id_is_the_thumbprint_of_the_key() -> None:
    key = KeyPair("a secret")
    assert key.verifying.key_id == key.id
    described = {name: key.public[name] for name in ("crv", "kty", "x", "y")}
    assert jwt.PyJWK(described, "ES256").Algorithm  # a complete public key
    assert not {"d", "k"} & key.public.keys()


async def test_the_key_set_is_published(client: AsyncClient, issuer: Issuer) -> None:
    async with caller_of(client._transport.app, headers={}) as stranger:  # type: ignore[attr-defined]
        answer = await stranger.get(JWKS)
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    keys = PyJWKSet.from_dict(answer.json()).keys
    given = issuer.token("ada")
    key = next(key for key in keys if key.key_id == jwt.get_unverified_header(given)["kid"])
    claims = jwt.decode(given, key, algorithms=["ES256"], options={"verify_aud": False})
    assert claims["sub"] == "ada"
    assert all(each["use"] == "sig" and each["alg"] == "ES256" for each in answer.json()["keys"])
    assert '"d"' not in json.dumps(answer.json())


def test_without_a_secret_of_its_own_the_key_comes_from_the_secret_key(settings: Settings) -> None:
    secret = read_secrets(with_secrets(settings)).current
    assert settings.secret_key.get_secret_value() not in secret
    other = with_changes(settings, secret_key="x" * 40)
    assert read_secrets(with_secrets(other)).current != secret


async def test_a_rotation_refuses_no_valid_token(settings: Settings) -> None:
    steps = [
        with_secrets(settings, current=OLD),
        with_secrets(settings, current=OLD, next=NOW),
        with_secrets(settings, current=NOW, previous=OLD),
        with_secrets(settings, current=NOW),
    ]
    # At each step some processes are one step ahead of others: both accept what both sign.
    for behind, ahead in itertools.pairwise(steps):
        signed = [token(behind), token(ahead)]
        if ahead is steps[-1]:  # by then the last token of the old key has expired
            signed = [token(ahead)]
        for each in signed:
            assert await accepts(ahead, each)
            assert await accepts(behind, each)
    assert not await accepts(steps[-1], token(steps[0]))


async def test_a_rotation_under_load_fails_no_request(settings: Settings) -> None:
    running = with_secrets(settings, current=OLD)

    async def call(caller: AsyncClient) -> int:
        given = token(running)
        await asyncio.sleep(0)  # others rotate meanwhile
        return (await caller.get(f"{AUTH}/me", headers=bearer(given))).status_code

    async with caller_of(create_app(running), headers={}) as caller:
        calls = []
        for wanted in ((OLD, None, None), (OLD, None, NOW), (NOW, OLD, None), (NOW, OLD, NEXT)):
            running.jwt_secret, running.jwt_secret_previous, running.jwt_secret_next = (
                SecretStr(secret) if secret else None for secret in wanted
            )
            calls += [asyncio.create_task(call(caller)) for _ in range(25)]
            await asyncio.sleep(0)
        assert await asyncio.gather(*calls) == [200] * 100


async def test_the_next_key_is_published_before_it_signs(settings: Settings) -> None:
    coming = with_secrets(settings, current=NOW, next=NEXT)
    assert await published(create_app(coming)) == [KeyPair(NOW).id, KeyPair(NEXT).id]
    assert jwt.get_unverified_header(token(coming))["kid"] == KeyPair(NOW).id


async def test_keys_from_a_store_are_taken_up_while_running(app: FastAPI) -> None:
    (before,) = await published(app)
    try:
        secrets.take_up({"JWT_SECRET_NEXT": SecretStr(NEXT)})
        assert await published(app) == [before, KeyPair(NEXT).id]
        # What has signed until then is accepted for as long as its tokens may be out.
        secrets.take_up({"JWT_SECRET": SecretStr(NEXT)})
        assert await published(app) == [KeyPair(NEXT).id, before]
        secrets.take_up({"JWT_SECRET": SecretStr(NOW), "JWT_SECRET_PREVIOUS": SecretStr(NEXT)})
        assert await published(app) == [KeyPair(NOW).id, KeyPair(NEXT).id, before]
        secrets.take_up({"JWT_SECRET": SecretStr(NOW), "JWT_SECRET_NEXT": SecretStr(NOW)})
        assert await published(app) == [KeyPair(NOW).id, before]
    finally:
        secrets.take_up({})
    assert await published(app) == [before]


async def test_the_key_before_the_first_of_a_store_ends_with_its_tokens(
    app: FastAPI, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("app.core.auth.local.keys.time", clock)
    (before,) = await published(app)
    try:
        secrets.take_up({"JWT_SECRET": SecretStr(NOW), "JWT_SECRET_PREVIOUS": SecretStr(OLD)})
        clock.now += settings.auth_access_token_seconds + LEEWAY_SECONDS - 0.1
        assert await published(app) == [KeyPair(NOW).id, KeyPair(OLD).id, before]
        clock.now += 0.1
        assert await published(app) == [KeyPair(NOW).id, KeyPair(OLD).id]
        secrets.take_up({"JWT_SECRET": SecretStr(NOW)})
        assert await published(app) == [KeyPair(NOW).id]
    finally:
        secrets.take_up({})


async def test_where_a_store_has_a_key_at_the_start_no_other_is_accepted(
    settings: Settings,
) -> None:
    started = with_secrets(settings, current=NOW, previous=OLD)
    started._from_store = frozenset({"jwt_secret", "jwt_secret_previous"})
    forged = token(with_secrets(settings))
    with secrets.given_by(started):
        secrets.take_up({"JWT_SECRET": SecretStr(NOW), "JWT_SECRET_PREVIOUS": SecretStr(OLD)})
        assert not await accepts(started, forged)
        secrets.take_up({"JWT_SECRET": SecretStr(NOW)})
        assert not await accepts(started, forged)
        assert await accepts(started, token(started))
        assert await published(create_app(started)) == [KeyPair(NOW).id]


async def test_a_token_without_a_key_id_is_clear_only_with_one_key(settings: Settings) -> None:
    one = OwnKeys(with_secrets(settings, current=NOW))
    two = OwnKeys(with_secrets(settings, current=NOW, previous=OLD))
    assert await one.find(None) is not None
    assert await two.find(None) is None


async def test_a_token_for_somebody_else_is_refused(settings: Settings, issuer: Issuer) -> None:
    assert await accepts(settings, issuer.token())
    assert not await accepts(settings, issuer.token(iss="https://other.example.com"))
    assert not await accepts(settings, issuer.token(aud="https://other.example.com"))
    assert not await accepts(settings, issuer.token(exp=1))


@pytest.mark.parametrize(
    "name", ["SECRET_KEY", "JWT_SECRET", "JWT_SECRET_PREVIOUS", "JWT_SECRET_NEXT"]
)
def test_a_secret_that_everybody_can_read_is_told(settings: Settings, name: str) -> None:
    read = with_changes(settings, **{name.lower(): f"{DEVELOPMENT_SECRET}-too"})
    assert [line.split()[0] for line in read.published()] == [name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTH_ISSUER", "http://api.example.com"),
        ("AUTH_PAGES_URL", "http://app.example.com"),
        ("SMTP_URL", None),
        ("JWT_SECRET", "too short"),
        ("JWT_SECRET_NEXT", "too short"),
        ("ARGON2_MEMORY_KIB", 11_946),
        ("GOOGLE_CLIENT_SECRET", None),
    ],
)
def test_production_refuses(settings: Settings, name: str, value: object) -> None:
    good = with_changes(
        settings,
        auth_issuer="https://api.example.com",
        auth_pages_url="https://app.example.com",
        smtp_url="smtps://mail.example.com",
        jwt_secret=NOW,
        argon2_memory_kib=11_947,
        argon2_passes=3,
        google_client_id="an-id",
        google_client_secret="a secret",  # noqa: S106
    )
    before = list(good.insecure())
    bad = list(with_changes(good, **{name.lower(): value}).insecure())
    assert [line.split()[0] for line in bad if line not in before] == [name]
