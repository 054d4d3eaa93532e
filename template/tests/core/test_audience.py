"""Tokens for others do not count here."""

from typing import Any

import pytest
from httpx2 import AsyncClient

from tests.core.issuing.base import bearer
from tests.core.issuing.signing import SigningIssuer

ME = "/api/v1/auth/me"


@pytest.mark.parametrize(
    "audience",
    [None, "", "https://other.example.com", 5, [], ["https://other.example.com"], {"a": 1}],
    ids=str,
)
async def test_a_token_for_another_audience_is_refused(
    audience: Any, stranger: AsyncClient, issuer: SigningIssuer
) -> None:
    answer = await stranger.get(ME, headers=bearer(issuer.token(aud=audience)))
    assert answer.status_code == 401


async def test_names_that_look_alike_are_others(
    stranger: AsyncClient, issuer: SigningIssuer
) -> None:
    own = issuer.claims()["aud"]
    for audience in (f"{own}/", own.upper(), own[:-1], f"{own} ", [own, 5], {own: 1}):
        answer = await stranger.get(ME, headers=bearer(issuer.token(aud=audience)))
        assert answer.status_code == 401, audience


async def test_one_audience_among_several_is_enough(
    stranger: AsyncClient, issuer: SigningIssuer
) -> None:
    several = ["https://other.example.com", issuer.claims()["aud"]]
    answer = await stranger.get(ME, headers=bearer(issuer.token(aud=several)))
    assert answer.status_code == 200
