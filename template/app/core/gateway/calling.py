"""The caller's end of an exchange: its body as it comes in, and whether it is still there."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from starlette.types import Receive

from app.core.errors import DeadlineExceededError, UnauthenticatedError
from app.core.gateway.errors import CallerTooSlowError


class Caller:
    """Gives the body bit by bit, and ends the exchange when the caller does.

    Whatever the caller does ends the exchange by cancelling it, so that the upstream's breaker does
    not take it for the upstream's failure.

    Args:
        receive: the caller's messages (ASGI).
        has_body: whether a body follows.
        patience: seconds between two parts of it.
        waits: seconds after which the caller does not wait any more.
        signed_in: seconds after which its token is not accepted any more.
    """

    def __init__(
        self,
        receive: Receive,
        *,
        has_body: bool,
        patience: float,
        waits: float | None,
        signed_in: float | None,
    ) -> None:
        self._receive = receive
        self._patience = patience
        self._signed_in = signed_in
        self._body_over = asyncio.Event()
        self._gone = False
        self._limit: tuple[asyncio.Timeout, float] | None = None
        self.has_body = has_body
        self.waits = waits
        self.failure: Exception | None = None
        if not has_body:
            self._body_over.set()

    @property
    def body_is_over(self) -> bool:
        """Whether the body was read to its end."""
        return self._body_over.is_set() and not self._gone

    @asynccontextmanager
    async def attended(self) -> AsyncIterator[None]:
        """Leave this block when the caller leaves, or breaks the rules: then `failure` says how."""
        exchange = asyncio.current_task()
        assert exchange is not None  # noqa: S101 - for the type checker; a coroutine has a task
        watcher = asyncio.create_task(self._watch(exchange))
        try:
            yield
        except asyncio.CancelledError:
            # Cancelled by the watcher alone, and not by whoever stops the service besides.
            if not self._gone or exchange.uncancel() > 0:
                raise
        finally:
            watcher.cancel()

    @contextmanager
    def giving_time(self, limit: asyncio.Timeout, seconds: float) -> Iterator[None]:
        """Let a time-out run only while it is not the caller who has to go on."""
        self._limit = limit, seconds
        try:
            yield
        finally:
            self._limit = None

    async def body(self) -> AsyncIterator[bytes]:
        """Give the body as it comes in. The last part is followed by its end only."""
        more = True
        while more:
            self._stop_clock()
            more, part = await self._part()
            self._restart_clock()
            if part:
                yield part
        self._body_over.set()

    async def _part(self) -> tuple[bool, bytes]:
        try:
            async with asyncio.timeout(self._patience):
                message = await self._receive()
        except TimeoutError:
            await self._end(CallerTooSlowError("The body has stopped coming in"))
        except Exception as error:  # noqa: BLE001 - too large, as a guard has noticed
            await self._end(error)
        if message["type"] == "http.disconnect":
            await self._end(None)
        return message.get("more_body", False), message.get("body", b"")

    async def _end(self, failure: Exception | None) -> None:
        """Let the exchange be cancelled, and wait for that."""
        self.failure = failure
        self._gone = True
        self._body_over.set()
        await asyncio.Event().wait()

    async def _watch(self, exchange: "asyncio.Task[object]") -> None:
        try:
            async with asyncio.timeout(self._signed_in), asyncio.timeout(self.waits) as deadline:
                await self._until_gone()
        except TimeoutError:
            self.failure = _too_late() if deadline.expired() else _signed_out()
        self._gone = True
        exchange.cancel()

    async def _until_gone(self) -> None:
        await self._body_over.wait()
        while not self._gone:
            message = await self._receive()
            self._gone = message["type"] == "http.disconnect"

    def _stop_clock(self) -> None:
        if self._limit is not None:
            self._limit[0].reschedule(None)

    def _restart_clock(self) -> None:
        if self._limit is not None:
            limit, seconds = self._limit
            limit.reschedule(asyncio.get_running_loop().time() + seconds)


def _too_late() -> DeadlineExceededError:
    return DeadlineExceededError("There was no answer while the caller waited")


def _signed_out() -> UnauthenticatedError:
    return UnauthenticatedError("The token has expired", challenge='Bearer error="invalid_token"')
