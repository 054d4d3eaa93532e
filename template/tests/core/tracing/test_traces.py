"""One trace, from a caller over this service to all that it asks and enqueues."""

import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
import structlog
from fastapi import APIRouter, FastAPI
from httpx2 import AsyncClient
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    get_tracer,
    set_span_in_context,
)
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.config import Settings
from app.core.application import create_app
from app.core.auth import public
from app.core.http import Upstream
from app.core.jobs import Retries, enqueue, task
from app.core.jobs.port import sending_to
from app.core.logging import configure_logging
from app.core.tracing import provider
from tests.core.first_database import SessionDep
from tests.core.jobs.collected import Collected
from tests.core.neighbour import Neighbour, neighbour
from tests.core.plugin import caller_of, with_changes
from tests.core.ports import free_port
from tests.core.tracing.receiver import Receiver, Span, receiving

CALLERS_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLERS_SPAN = "00f067aa0ba902b7"
RECORDED = f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-01"
NOT_RECORDED = f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-00"

ADDRESS = {"url": ""}
OTHER = Upstream(f"other-{uuid4().hex}", lambda _: ADDRESS["url"], private=True)


@task(retries=Retries(times=0))
async def look(session: AsyncSession, how: str) -> None:
    """Ask the database, or fail."""
    await session.execute(text("SELECT 2"))
    if how == "fail":
        raise RuntimeError(how)


router = APIRouter()


@router.get("/chain")
@public
async def chain(session: SessionDep, how: str = "well") -> None:
    """Do a little of everything."""
    await session.execute(text("SELECT 1"))
    await OTHER.request("GET", "/x")
    await enqueue(look, how)
    with get_tracer(__name__).start_as_current_span("own"):
        structlog.get_logger().info("in the middle")


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
async def other() -> AsyncIterator[Neighbour]:
    async with neighbour() as running:
        ADDRESS["url"] = running.url
        yield running


@asynccontextmanager
async def service(
    settings: Settings, receiver: Receiver, **changes: object
) -> AsyncIterator[AsyncClient]:
    """A service that sends its spans to the receiver: all of them, when the block is left."""
    receiver.spans.clear()
    given = {"otel_exporter_otlp_endpoint": receiver.url, "otel_exporter_otlp_headers": "key=abc"}
    app: FastAPI = create_app(with_changes(settings, **given | changes), routers=[router])
    async with app.router.lifespan_context(app), caller_of(app, headers={}) as caller:
        yield caller


def statement(receiver: Receiver, sql: str) -> Span:
    [span] = [each for each in receiver.spans if each.attributes.get("db.query.text") == sql]
    return span


async def test_a_trace_leads_from_the_caller_to_the_job(
    settings: Settings, receiver: Receiver, other: Neighbour
) -> None:
    path = f"{settings.api_v1_str}/chain"
    async with service(settings, receiver) as caller:
        with sending_to(jobs := Collected()):
            answer = await caller.get(f"{path}?password=hunter2", headers={"traceparent": RECORDED})
            assert answer.status_code == 200
            await jobs.run_all()
    request, called, job = (
        receiver.one(f"GET {path}"),
        receiver.one("GET"),
        receiver.one(f"job {look.name}"),
    )
    first, second = statement(receiver, "SELECT 1"), statement(receiver, "SELECT 2")
    assert {span.trace for span in receiver.spans} == {CALLERS_TRACE}
    assert request.parent == CALLERS_SPAN
    assert {called.parent, first.parent, job.parent, receiver.one("own").parent} == {request.id}
    assert second.parent == job.id
    assert not any(span.failed for span in receiver.spans)
    told = other.received[-1].headers["traceparent"]
    assert told == f"00-{CALLERS_TRACE}-{called.id}-01"
    assert "hunter2" not in str(receiver.spans)
    assert request.attributes["http.route"] == path
    said = receiver.resources[-1]
    assert said["service.name"] == settings.otel_service_name
    assert said["service.version"] == settings.app_version
    assert receiver.headers[-1]["key"] == "abc"


async def test_a_job_that_fails_is_a_span_that_failed(
    settings: Settings, receiver: Receiver, other: Neighbour
) -> None:
    async with service(settings, receiver) as caller:
        with sending_to(jobs := Collected()):
            await caller.get(f"{settings.api_v1_str}/chain?how=fail")
            await jobs.run_all()
    job = receiver.one(f"job {look.name}")
    assert job.failed
    assert job.attributes["error.type"] == "RuntimeError"


@pytest.mark.parametrize("flag", [TraceFlags.DEFAULT, TraceFlags.SAMPLED])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_flag_from_elsewhere_decides_nothing(flag: int, share: float) -> None:
    trace, name = int(CALLERS_TRACE, 16), "GET /"
    for is_remote, recorded in ((True, share == 1), (False, flag == TraceFlags.SAMPLED)):
        parent = SpanContext(trace, int(CALLERS_SPAN, 16), is_remote, TraceFlags(flag))
        around = set_span_in_context(NonRecordingSpan(parent), Context())
        decided = provider.sampler_of(share).should_sample(around, trace, name)
        assert (decided.decision is Decision.RECORD_AND_SAMPLE) == recorded


async def test_what_the_caller_does_not_record_is_recorded_here(
    settings: Settings, receiver: Receiver, other: Neighbour
) -> None:
    path = f"{settings.api_v1_str}/chain"
    async with service(settings, receiver) as caller:
        with sending_to(jobs := Collected()):
            await caller.get(path, headers={"traceparent": NOT_RECORDED})
            await jobs.run_all()
    assert {span.trace for span in receiver.spans} == {CALLERS_TRACE}
    assert receiver.one(f"job {look.name}").parent == receiver.one(f"GET {path}").id
    told = other.received[-1].headers["traceparent"]
    assert told.startswith(f"00-{CALLERS_TRACE}-")
    assert told.endswith("-01")


async def test_probes_begin_no_trace(settings: Settings, receiver: Receiver) -> None:
    async with service(settings, receiver) as caller:
        for path in ("/health", "/ready"):
            await caller.get(path)
        await caller.get("/no/such/path")
    assert [span.name for span in receiver.spans] == ["GET"]


async def test_every_line_names_the_trace_and_the_span(
    settings: Settings, receiver: Receiver, other: Neighbour
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), write_through=True)
    async with service(settings, receiver) as caller:
        with sending_to(jobs := Collected()):
            configure_logging(settings, stream)
            await caller.get(f"{settings.api_v1_str}/chain", headers={"traceparent": RECORDED})
            await jobs.run_all()
    stream.seek(0)
    [line] = [line for line in map(json.loads, stream) if line["event"] == "in the middle"]
    assert line["trace_id"] == CALLERS_TRACE
    assert line["span_id"] == receiver.one("own").id


async def test_without_a_collector_the_callers_trace_goes_on(
    settings: Settings, receiver: Receiver, other: Neighbour
) -> None:
    async with service(settings, receiver, otel_exporter_otlp_endpoint=None) as caller:
        with sending_to(jobs := Collected()):
            headers = {"traceparent": RECORDED}
            await caller.get(f"{settings.api_v1_str}/chain", headers=headers)
    assert receiver.spans == []
    assert other.received[-1].headers["traceparent"] == RECORDED
    assert [job.traceparent for job in jobs.waiting] == [RECORDED]


async def test_a_collector_that_is_away_harms_nobody(
    settings: Settings,
    receiver: Receiver,
    other: Neighbour,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(provider, "PATIENCE_SECONDS", 0.2)
    away = f"http://127.0.0.1:{free_port()}"
    async with service(settings, receiver, otel_exporter_otlp_endpoint=away) as caller:
        with sending_to(Collected()):
            assert (await caller.get(f"{settings.api_v1_str}/chain")).status_code == 200


@pytest.mark.parametrize("endpoint", ["collector:4318", "ftp://collector", "http://"])
def test_an_address_that_is_none_stops_the_start(settings: Settings, endpoint: str) -> None:
    with pytest.raises(ValueError, match="must be an address"):
        with_changes(settings, otel_exporter_otlp_endpoint=endpoint)
