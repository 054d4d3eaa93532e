from fastapi import APIRouter

from app.config import Settings
from app.core.application import create_app
from tests.core.issuing.base import Issuer, bearer
from tests.core.metrics.scraping import scrape
from tests.core.plugin import caller_of


async def test_refused_tokens_are_counted_by_their_fault(
    settings: Settings, issuer: Issuer
) -> None:
    router = APIRouter()

    @router.get("/closed")
    async def closed() -> None:
        """Only for those who have signed in."""

    app = create_app(settings, routers=[router])
    sent = ["nonsense", "nonsense", issuer.token(exp=1), "x" * 20_000]
    async with app.router.lifespan_context(app), caller_of(app, headers={}) as caller:
        for token in sent:
            answer = await caller.get(f"{settings.api_v1_str}/closed", headers=bearer(token))
            assert answer.status_code == 401
        assert (await caller.get(f"{settings.api_v1_str}/closed")).status_code == 401
        figures = await scrape(caller)
    assert figures.one("tokens_refused_total", reason="invalid") == 2
    assert figures.one("tokens_refused_total", reason="expired") == 1
    assert figures.one("tokens_refused_total", reason="too_long") == 1
