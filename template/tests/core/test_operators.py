"""Who may read what is for operators, where a role of the service itself says so."""

from fastapi import FastAPI

from tests.core.issuing.base import Issuer, bearer
from tests.core.plugin import caller_of


async def test_administrators_read_the_details_from_anywhere(app: FastAPI, issuer: Issuer) -> None:
    for roles, status in (["admin"], 200), (["auditor"], 403), ([], 403):
        headers = bearer(issuer.token(roles=roles))
        async with caller_of(app, "203.0.113.9", headers) as caller:
            assert (await caller.get("/health/detailed")).status_code == status
