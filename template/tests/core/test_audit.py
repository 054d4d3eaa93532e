"""What the audit log tells, and what it does not."""

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException

from app.config import Settings
from app.core.application import create_app
from app.core.audit import audit
from app.core.auth import public, require_role
from app.core.limits import rate_limit
from app.core.limits.memory import BoundedStorage
from app.core.logging import LONGEST_PATH
from tests.core.log import AuditLog
from tests.core.plugin import SIGNED_IN, caller_of


@pytest.fixture
def service(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    standing_still = BoundedStorage(100, lambda: 1_800_000_000.5)  # no minute ends in a test
    monkeypatch.setattr("app.core.limits.piece.build_storage", lambda _: standing_still)
    router = APIRouter()
    router.get("/admins{rest:path}", dependencies=[Depends(require_role("admin"))])(_nothing)
    router.get("/few", dependencies=[Depends(rate_limit("1/minute"))])(public(_open))
    router.get("/told")(public(_tell))
    router.get("/refused")(public(_refuse))
    return create_app(settings, routers=[router])


@pytest.fixture
def log(settings: Settings, service: FastAPI) -> AuditLog:
    return AuditLog(settings)


async def _nothing() -> None: ...


async def _open() -> None: ...


async def _refuse() -> None:
    raise HTTPException(403)


async def _tell() -> None:
    audit("password.changed", password="hunter2", reason="forgotten")  # noqa: S106


async def test_a_line_says_who_and_from_where_whatever_the_level(
    service: FastAPI, log: AuditLog
) -> None:
    async with caller_of(service, "192.0.2.7") as caller:
        await caller.get("/api/v1/told", headers={"X-Request-ID": "a-request"})
    (line,) = log.lines()
    assert (line["event"], line["reason"]) == ("password.changed", "forgotten")
    assert (line["client"], line["request_id"]) == ("192.0.2.7", "a-request")
    assert line.get("subject") == ("somebody" if SIGNED_IN else None)
    assert line["password"] == "[redacted]"  # noqa: S105


def test_outside_of_requests_there_is_nobody(log: AuditLog) -> None:
    audit("keys.rotated")
    (line,) = log.lines()
    assert line.keys() == {"event", "level", "logger", "timestamp"}


async def test_refused_access_is_told_of(service: FastAPI, log: AuditLog) -> None:
    async with caller_of(service) as caller:
        assert (await caller.get("/api/v1/admins?token=hunter2")).status_code == 403
        assert (await caller.get(f"/api/v1/admins/{'x' * 2000}")).status_code == 403
    line, long = log.lines()
    assert len(long["path"]) == LONGEST_PATH
    assert line["event"] == "access.refused"
    assert (line["method"], line["path"], line["code"]) == ("GET", "/api/v1/admins", "forbidden")


async def test_so_is_what_an_endpoint_refuses_by_the_framework_s_own_means(
    service: FastAPI, log: AuditLog
) -> None:
    async with caller_of(service) as caller:
        assert (await caller.get("/api/v1/refused")).status_code == 403
    (line,) = log.lines()
    assert (line["event"], line["path"]) == ("access.refused", "/api/v1/refused")


async def test_a_flood_is_told_of_once(service: FastAPI, log: AuditLog) -> None:
    async with caller_of(service, headers={}) as caller:
        statuses = [(await caller.get("/api/v1/few")).status_code for _ in range(5)]
    assert statuses == [200, 429, 429, 429, 429]
    (line,) = log.lines()
    assert (line["event"], line["limit"]) == ("rate_limit.exceeded", "GET /api/v1/few")
