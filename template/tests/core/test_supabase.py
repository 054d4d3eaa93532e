"""What is particular about Supabase's tokens."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from httpx2 import AsyncClient
from pydantic import ValidationError

from app.config import Settings
from app.core.application import create_app
from tests.core.issuing.base import bearer
from tests.core.issuing.signing import SigningIssuer, compact, shared
from tests.core.plugin import caller_of, with_changes

ME = "/api/v1/auth/me"
SECRET = "a-secret-of-an-old-project-that-is-long-enough"  # noqa: S105


def legacy(issuer: SigningIssuer, secret: bytes = SECRET.encode(), **header: Any) -> str:
    return compact({"alg": "HS256", "typ": "JWT", **header}, issuer.claims("ada"), shared(secret))


@pytest.fixture
async def old_project(settings: Settings, rolled_back: None) -> AsyncIterator[AsyncClient]:
    """A caller of a service whose project still has its secret."""
    app = create_app(with_changes(settings, supabase_jwt_secret=SECRET))
    async with caller_of(app, headers={}) as caller:
        yield caller


async def test_the_legacy_secret_counts_only_when_it_is_set(
    old_project: AsyncClient, stranger: AsyncClient, issuer: SigningIssuer
) -> None:
    for token in map(bearer, (legacy(issuer), legacy(issuer, kid="legacy"))):
        assert (await old_project.get(ME, headers=token)).json()["subject"] == "ada"
        assert (await stranger.get(ME, headers=token)).status_code == 401


async def test_new_keys_work_beside_the_secret(
    old_project: AsyncClient, issuer: SigningIssuer
) -> None:
    answer = await old_project.get(ME, headers=bearer(issuer.token("ada")))
    assert answer.json()["subject"] == "ada"


async def test_only_the_secret_itself_signs(
    old_project: AsyncClient, issuer: SigningIssuer
) -> None:
    secrets = [
        b"",
        b"secret",
        SECRET.upper().encode(),
        issuer.key.encoded(Encoding.PEM),
        issuer.key.encoded(Encoding.DER),
    ]
    forged = [legacy(issuer, secret) for secret in secrets]
    forged += [
        compact({"alg": name}, issuer.claims(), shared(SECRET.encode(), digest))
        for name, digest in (("HS384", "sha384"), ("HS512", "sha512"), ("none", "sha256"))
    ]
    for token in forged:
        assert (await old_project.get(ME, headers=bearer(token))).status_code == 401


def test_a_short_secret_is_refused(settings: Settings) -> None:
    with pytest.raises(ValidationError):
        with_changes(settings, supabase_jwt_secret=SECRET[:31])
    assert with_changes(settings, supabase_jwt_secret=SECRET).jwt_algorithm == "HS256"
    assert settings.jwt_algorithm == "ES256"


def test_production_refuses_the_secret_of_every_developer(settings: Settings) -> None:
    known = "super-secret-jwt-token-with-at-least-32-characters-long"
    refused = " ".join(with_changes(settings, supabase_jwt_secret=known).insecure())
    assert "SUPABASE_JWT_SECRET" in refused
    refused = " ".join(with_changes(settings, supabase_jwt_secret=SECRET).insecure())
    assert "SUPABASE_JWT_SECRET" not in refused


async def test_what_users_can_change_never_counts(
    stranger: AsyncClient, issuer: SigningIssuer
) -> None:
    chosen = {"tenant_id": "other", "tenant": "other", "roles": ["admin"], "role": "admin"}
    for app_metadata in {}, None, "admin", ["admin"], {"provider": "email"}:
        token = issuer.token(
            app_metadata=app_metadata, user_metadata=chosen, roles=[], role="authenticated"
        )
        me = (await stranger.get(ME, headers=bearer(token))).json()
        assert (me["tenant"], me["roles"]) == (None, [])


async def test_one_role_is_enough(stranger: AsyncClient, issuer: SigningIssuer) -> None:
    token = issuer.token(app_metadata={"role": "admin", "tenant_id": "acme"})
    me = (await stranger.get(ME, headers=bearer(token))).json()
    assert (me["tenant"], me["roles"]) == ("acme", ["admin"])


async def test_the_key_of_the_project_s_pages_signs_nobody_in(
    old_project: AsyncClient, issuer: SigningIssuer
) -> None:
    """The `anon` and `service_role` keys are tokens too, and the first one is public."""
    expires = issuer.claims()["exp"]
    for role in "anon", "service_role":
        claims = {"iss": "supabase", "ref": "abcdefghij", "role": role, "exp": expires}
        token = compact({"alg": "HS256", "typ": "JWT"}, claims, shared(SECRET.encode()))
        assert (await old_project.get(ME, headers=bearer(token))).status_code == 401
