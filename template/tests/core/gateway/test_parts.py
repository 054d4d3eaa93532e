"""What the servers on both sides refuse as well, so that it is not seen from outside."""

import asyncio

import pytest
from starlette.types import Message

from app.core.errors import (
    AppException,
    BadRequestError,
    DeadlineExceededError,
    ExternalServiceError,
    UnauthenticatedError,
)
from app.core.gateway.calling import Caller
from app.core.gateway.headers import for_caller, has_body

LENGTH, CODING = b"content-length", b"transfer-encoding"


@pytest.mark.parametrize(
    "headers",
    [
        [(LENGTH, b"6"), (LENGTH, b"6")],
        [(LENGTH, b"6"), (CODING, b"chunked")],
        [(CODING, b"chunked"), (CODING, b"chunked")],
        [(LENGTH, b"+6")],
        [(LENGTH, b"")],
    ],
)
def test_a_body_has_one_end(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(BadRequestError, match="where this body ends"):
        has_body({"headers": headers, "http_version": "1.1"})


@pytest.mark.parametrize("field", [(b"a b", b"c"), (b"a", b"b\r\nc: d"), (b"a", b"b\0")])
def test_no_field_of_an_answer_ends_its_header(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(ExternalServiceError, match="wrong header"):
        for_caller([field], 200)


@pytest.mark.parametrize(
    ("waits", "signed_in", "failure"),
    [
        (0.01, 60, DeadlineExceededError),
        (60, 0.01, UnauthenticatedError),
        (None, 0.01, UnauthenticatedError),
    ],
)
async def test_an_exchange_has_its_time(
    waits: float | None, signed_in: float, failure: type[AppException]
) -> None:
    async def receive() -> Message:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    caller = Caller(receive, has_body=False, patience=60, waits=waits, signed_in=signed_in)
    async with asyncio.timeout(20), caller.attended():
        await asyncio.sleep(60)
    assert type(caller.failure) is failure


async def test_who_stops_the_service_is_not_taken_for_a_caller_who_left() -> None:
    begun, silence = asyncio.Event(), asyncio.Event()

    async def receive() -> Message:
        await silence.wait()
        return {"type": "http.disconnect"}

    caller = Caller(receive, has_body=False, patience=60, waits=None, signed_in=None)

    async def exchange() -> None:
        async with caller.attended():
            begun.set()
            await silence.wait()

    running = asyncio.create_task(exchange())
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
