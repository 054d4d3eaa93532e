"""What is particular about tokens of OpenID providers."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from httpx2 import AsyncClient

from app.config import Settings
from app.core.application import create_app
from tests.core.issuing.base import bearer
from tests.core.issuing.provider import issuing
from tests.core.issuing.remote import RemoteIssuer
from tests.core.issuing.signing import SigningKey, compact
from tests.core.plugin import caller_of, with_changes

ME = "/api/v1/auth/me"
Calling = Callable[..., AbstractAsyncContextManager[AsyncClient]]


@pytest.fixture
def calling(settings: Settings, rolled_back: None) -> Calling:
    """Callers of services with other settings."""

    @asynccontextmanager
    async def call(**changes: object) -> AsyncIterator[AsyncClient]:
        app = create_app(with_changes(settings, **changes))
        async with caller_of(app, headers={}) as caller:
            yield caller

    return call


@pytest.mark.parametrize(
    ("setting", "claims"),
    [
        ("roles", {"roles": ["admin", "auditor"]}),
        ("roles", {"roles": "admin auditor"}),
        ("realm_access.roles", {"realm_access": {"roles": ["admin", "auditor"]}}),
        ("https://example.com/roles", {"https://example.com/roles": ["admin", "auditor"]}),
    ],
)
async def test_roles_stand_where_the_setting_says(
    setting: str, claims: dict[str, Any], calling: Calling, issuer: RemoteIssuer
) -> None:
    header = {"alg": issuer.key.algorithm, "kid": issuer.key.id}
    token = compact(header, issuer.claims() | claims, issuer.key.sign)
    async with calling(oidc_roles_claim=setting) as caller:
        me = (await caller.get(ME, headers=bearer(token))).json()
    assert me["roles"] == ["admin", "auditor"]


@pytest.mark.parametrize(
    "claims", [{"org": {"id": "acme"}}, {"org.id": "acme"}, {"org.id": "acme", "org": {"id": "b"}}]
)
async def test_the_tenant_stands_where_the_setting_says(
    claims: dict[str, Any], calling: Calling, issuer: RemoteIssuer
) -> None:
    async with calling(oidc_tenant_claim="org.id") as caller:
        me = (await caller.get(ME, headers=bearer(issuer.token(**claims)))).json()
    assert me["tenant"] == "acme"


@pytest.mark.parametrize("tenant", [5, "", [], {"id": "acme"}, "a\0b", "\ud800", "a" * 256])
async def test_a_strange_tenant_is_none(
    tenant: Any, calling: Calling, issuer: RemoteIssuer
) -> None:
    async with calling() as caller:
        me = (await caller.get(ME, headers=bearer(issuer.token(tenant=tenant)))).json()
    assert me["tenant"] is None


async def test_the_provider_signs_as_the_setting_says(calling: Calling) -> None:
    with issuing() as provider:
        key = SigningKey("RS256")
        published = key.public
        provider.answers["/keys"] = lambda: json.dumps({"keys": [published]}).encode()
        named = {name.lower(): value for name, value in provider.variables.items()}

        async def statuses(setting: str) -> dict[str, int]:
            async with calling(**named, oidc_algorithm=setting) as caller:
                return {
                    name: (await caller.get(ME, headers=bearer(signed(name)))).status_code
                    for name in ("RS256", "RS512", "PS256")
                }

        def signed(algorithm: str) -> str:
            header = {"alg": algorithm, "kid": key.id}
            return compact(header, provider.claims(), lambda message: key.sign(message, algorithm))

        del published["alg"]  # many providers leave it out
        assert await statuses("PS256") == {"RS256": 401, "RS512": 401, "PS256": 200}
        assert await statuses("RS256") == {"RS256": 200, "RS512": 401, "PS256": 401}


async def test_what_a_key_says_of_itself_counts(calling: Calling) -> None:
    with issuing() as provider:
        named = {name.lower(): value for name, value in provider.variables.items()}
        header = {"alg": "PS256", "kid": provider.key.id}
        token = compact(
            header, provider.claims(), lambda message: provider.key.sign(message, "PS256")
        )
        async with calling(**named, oidc_algorithm="PS256") as caller:
            assert (await caller.get(ME, headers=bearer(token))).status_code == 401


async def test_edwards_curves_sign_too(calling: Calling) -> None:
    with issuing() as provider:
        provider.keys = [SigningKey("EdDSA")]
        named = {name.lower(): value for name, value in provider.variables.items()}
        async with calling(**named, oidc_algorithm="EdDSA") as caller:
            assert (await caller.get(ME, headers=bearer(provider.token()))).status_code == 200
