"""Questions to Redis are steps of the trace at hand, and of no other."""

from fastapi import APIRouter

from app.config import Settings
from app.core.application import create_app
from app.core.auth import public
from app.core.redis import link
from tests.core.plugin import caller_of, with_changes
from tests.core.tracing.receiver import receiving

router = APIRouter()


@router.get("/ping")
@public
async def ping() -> bool:
    """Ask Redis something."""
    return bool(await link.ask(lambda redis: redis.ping()))


async def test_a_question_is_a_step_of_its_request(on_redis: Settings) -> None:
    path = f"{on_redis.api_v1_str}/ping"
    with receiving() as receiver:
        app = create_app(
            with_changes(on_redis, otel_exporter_otlp_endpoint=receiver.url), routers=[router]
        )
        async with app.router.lifespan_context(app), caller_of(app, headers={}) as caller:
            await link.ask(lambda redis: redis.ping())
            assert (await caller.get(path)).status_code == 200
    question, request = receiver.one("redis"), receiver.one(f"GET {path}")
    assert (question.trace, question.parent) == (request.trace, request.id)
    assert question.attributes["db.system.name"] == "redis"
