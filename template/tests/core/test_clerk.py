"""What is particular about Clerk's tokens."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from app.config import Settings
from tests.core.issuing.base import bearer
from tests.core.issuing.clerk import PAGE
from tests.core.issuing.signing import SigningIssuer
from tests.core.plugin import caller_of, with_changes

ME = "/api/v1/auth/me"


@pytest.mark.parametrize(
    "party",
    ["https://evil.example.com", f"{PAGE}/", f"{PAGE}.evil.com", "", "null", [PAGE], 5, {}, True],
    ids=str,
)
async def test_tokens_of_foreign_pages_are_refused(
    party: Any, stranger: AsyncClient, issuer: SigningIssuer
) -> None:
    assert (await stranger.get(ME, headers=bearer(issuer.token(azp=party)))).status_code == 401


async def test_a_token_may_name_no_page(stranger: AsyncClient, issuer: SigningIssuer) -> None:
    """Clerk leaves `azp` out where a browser tells no origin, and in tokens for native apps."""
    assert (await stranger.get(ME, headers=bearer(issuer.token(azp=None)))).status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"v": 2, "o": {"id": "org_1", "rol": "admin", "slg": "acme", "per": "manage"}},
        {"v": None, "org_id": "org_1", "org_role": "org:admin", "org_slug": "acme"},
    ],
    ids=["version 2", "version 1"],
)
async def test_both_versions_of_the_claims_are_read(
    claims: dict[str, Any], stranger: AsyncClient, issuer: SigningIssuer
) -> None:
    me = (await stranger.get(ME, headers=bearer(issuer.token("user_1", **claims)))).json()
    assert (me["subject"], me["tenant"], me["roles"]) == ("user_1", "org_1", ["admin"])


async def test_an_administrator_of_an_organisation_is_no_operator(
    app: FastAPI, issuer: SigningIssuer
) -> None:
    """Anybody may found an organisation, and is its administrator then."""
    for claims in {"tenant": "org_1", "roles": ["admin"]}, {"o": None, "org_role": "org:admin"}:
        async with caller_of(app, "203.0.113.9", bearer(issuer.token(**claims))) as founder:
            assert (await founder.get(ME)).json()["roles"] == ["admin"]
            assert (await founder.get("/health/detailed")).status_code == 403


async def test_a_pending_session_is_signed_out(
    stranger: AsyncClient, issuer: SigningIssuer
) -> None:
    async def status(session: str) -> int:
        answer = await stranger.get(ME, headers=bearer(issuer.token(sts=session)))
        return answer.status_code

    assert await status("active") == 200
    assert await status("pending") == 401


async def test_metadata_of_the_user_never_counts(
    stranger: AsyncClient, issuer: SigningIssuer
) -> None:
    chosen = {"roles": ["admin"], "org_id": "other"}
    token = issuer.token(unsafe_metadata=chosen, metadata=chosen, roles=[], role="admin")
    me = (await stranger.get(ME, headers=bearer(token))).json()
    assert (me["tenant"], me["roles"]) == (None, [])


def test_production_names_its_own_pages(settings: Settings) -> None:
    told = list(with_changes(settings, clerk_authorized_parties=()).insecure())
    assert "CLERK_AUTHORIZED_PARTIES must name the origins of your own pages" in told
