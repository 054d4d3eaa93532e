import pytest
from fastapi import APIRouter, FastAPI
from httpx2 import AsyncClient
from starlette.types import Message, Receive, Scope, Send

from app.config import Settings
from app.core import errors
from app.core.application import create_app
from app.core.errors import AppException
from app.core.web.routes import Router
from tests.core.plugin import caller_of, with_changes

TAXONOMY = {
    errors.BadRequestError: 400,
    errors.UnauthenticatedError: 401,
    errors.ForbiddenError: 403,
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.PreconditionFailedError: 412,
    errors.PayloadTooLargeError: 413,
    errors.ValidationFailedError: 422,
    errors.RateLimitedError: 429,
    errors.ExternalServiceError: 502,
    errors.ServiceUnavailableError: 503,
    errors.DeadlineExceededError: 504,
}
MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id"}


def failing_with(error: Exception, settings: Settings) -> FastAPI:
    router = APIRouter()

    @router.get("/fail")
    async def fail() -> None:
        raise error

    return create_app(settings, routers=[router])


async def test_an_answer_that_breaks_off_is_followed_by_no_other() -> None:
    sent: list[Message] = []

    async def begin_and_fail(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        raise ArithmeticError

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    boundary = errors.ErrorBoundary(begin_and_fail)
    with pytest.raises(ArithmeticError):
        await boundary({"type": "http", "method": "GET", "path": "/"}, receive, send)
    assert [message["status"] for message in sent] == [200]


@pytest.mark.parametrize(("error", "status"), TAXONOMY.items())
async def test_each_exception_is_a_problem(
    settings: Settings, error: type[AppException], status: int
) -> None:
    async with caller_of(failing_with(error("Told to the caller"), settings)) as caller:
        answer = await caller.get("/api/v1/fail")
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert body.keys() == MEMBERS
    assert (answer.status_code, body["status"]) == (status, status)
    assert (body["code"], body["detail"]) == (error.code, "Told to the caller")
    assert body["type"] == f"urn:problem-type:{error.code.replace('_', '-')}"
    assert body["instance"] == "/api/v1/fail"
    assert body["request_id"] == answer.headers["x-request-id"]


def test_the_list_above_is_complete() -> None:
    assert set(AppException.__subclasses__()) >= TAXONOMY.keys()
    assert len({error.code for error in AppException.__subclasses__()}) == len(
        AppException.__subclasses__()
    )


@pytest.mark.parametrize("name", ["status", "code", "type", "request_id"])
def test_an_extension_cannot_replace_what_every_problem_says(name: str) -> None:
    with pytest.raises(TypeError, match=f"every problem has the member '{name}'"):
        errors.ConflictError("No", **{name: 1})  # type: ignore[arg-type]


async def test_an_extension_may_have_any_other_name(settings: Settings) -> None:
    error = errors.ConflictError("No", scope="a", seats=3)
    async with caller_of(failing_with(error, settings)) as caller:
        body = (await caller.get("/api/v1/fail")).json()
    assert (body["scope"], body["seats"]) == ("a", 3)


@pytest.mark.parametrize(
    ("error", "header", "value"),
    [
        (errors.UnauthenticatedError(), "www-authenticate", "Bearer"),
        (errors.RateLimitedError(retry_after=7), "retry-after", "7"),
        (errors.ServiceUnavailableError(retry_after=3), "retry-after", "3"),
    ],
)
async def test_headers_say_what_to_do(
    settings: Settings, error: AppException, header: str, value: str
) -> None:
    async with caller_of(failing_with(error, settings)) as caller:
        assert (await caller.get("/api/v1/fail")).headers[header] == value


async def test_an_unexpected_exception_tells_nothing(settings: Settings) -> None:
    error = RuntimeError("postgresql://user:hunter2@10.1.2.3/name")
    async with caller_of(failing_with(error, settings)) as caller:
        answer = await caller.get("/api/v1/fail")
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    for secret in ("hunter2", "10.1.2.3", "RuntimeError", "Traceback"):
        assert secret not in answer.text


async def test_even_a_text_that_is_no_unicode_is_answered(settings: Settings) -> None:
    for error in (errors.NotFoundError("half \ud800"), RuntimeError("half \ud800")):
        async with caller_of(failing_with(error, settings)) as caller:
            answer = await caller.get("/api/v1/fail")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_a_browser_may_read_an_unexpected_error(settings: Settings) -> None:
    origin = "https://app.example.com"
    open_to = with_changes(settings, backend_cors_origins=(origin,))
    async with caller_of(failing_with(RuntimeError(), open_to)) as caller:
        answer = await caller.get("/api/v1/fail", headers={"Origin": origin})
    assert answer.status_code == 500
    assert answer.headers["access-control-allow-origin"] == origin


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/no/such/path", 404, "not_found"),
        ("DELETE", "/health", 405, "http_405"),
    ],
)
async def test_the_framework_s_own_errors_are_problems(
    client: AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await client.request(method, path)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().keys() == MEMBERS
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("kind", [APIRouter, Router])
async def test_a_405_names_every_method_of_the_path(
    settings: Settings, kind: type[APIRouter]
) -> None:
    router = kind(prefix="/things")
    router.get("/{name}")(_nothing)
    router.delete("/{name}")(_nothing)
    router.put("")(_nothing)
    async with caller_of(create_app(settings, routers=[router])) as caller:
        answer = await caller.post("/api/v1/things/a")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET")


async def _nothing() -> None: ...


async def test_a_refused_value_is_not_repeated(settings: Settings) -> None:
    router = APIRouter()

    @router.post("/login")
    async def login(password: int) -> int:
        return password

    async with caller_of(create_app(settings, routers=[router])) as caller:
        answer = await caller.post("/api/v1/login", params={"password": "hunter2"})
    body = answer.json()
    assert (answer.status_code, body["code"]) == (422, "validation_failed")
    assert body["errors"][0]["loc"] == ["query", "password"]
    assert "hunter2" not in answer.text
