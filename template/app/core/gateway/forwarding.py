"""An HTTP request that goes through: header and body as they come, both ways."""

import asyncio

import structlog
from aiohttp import ClientError, ClientResponse
from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from app.core import deadline
from app.core.gateway.callers import name_of, seconds_left
from app.core.gateway.calling import Caller
from app.core.gateway.errors import CallerTooSlowError
from app.core.gateway.headers import for_caller, for_upstream, has_body
from app.core.gateway.targets import target
from app.core.gateway.upstreams import Connected

log = structlog.get_logger(logger_name="app.gateway")


class Forwarding(Response):
    """An answer that is fetched while it is sent.

    Args:
        request: what to ask for.
        upstream: whom to ask.
        prefix: what the upstream's paths do not have.
        most_bytes: how large the request's header may be.

    Raises:
        AppException: such a request is not passed on.
    """

    def __init__(
        self, request: Request, upstream: Connected, prefix: str, *, most_bytes: int
    ) -> None:
        super().__init__()
        scope = request.scope
        self.method = request.method
        self.upstream = upstream
        self.caller_name = name_of(scope)
        self.target = target(scope, prefix, hidden=upstream.upstream.hidden)
        self.has_body = has_body(scope)
        self.waits = deadline.remaining()
        self.request_headers = for_upstream(scope, prefix, most_bytes=most_bytes)
        if self.waits is not None:
            self.request_headers[deadline.HEADER] = deadline.told(self.waits)
        self.begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the upstream and pass its answer on (ASGI).

        Raises:
            AppException: there is no answer to pass on.
        """
        del scope
        caller = Caller(
            receive,
            has_body=self.has_body,
            patience=self.upstream.upstream.idle_timeout,
            waits=self.waits,
            signed_in=seconds_left(self.upstream.upstream),
        )
        with self.upstream.requests.one(self.caller_name):
            async with caller.attended():
                await self._exchange(caller, send)
        if caller.failure and not self.begun:
            raise caller.failure

    async def _exchange(self, caller: Caller, send: Send) -> None:
        asked = self.upstream.asked(self.method, self.target, self.request_headers, caller)
        async with asked as answer:
            headers = for_caller(answer.raw_headers, answer.status)
            self.begun = True
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            try:
                await _send_body(answer, send, self.upstream.upstream.idle_timeout)
            except (ClientError, TimeoutError) as error:
                # The caller has the beginning. Without its end the server hangs up, so that nobody
                # takes the part for the whole.
                answer.close()
                log.warning(
                    "upstream breaks off",
                    upstream=self.upstream.name,
                    reason=f"{type(error).__name__}: {error}",
                )
            except CallerTooSlowError as error:
                answer.close()
                log.info("caller does not read", upstream=self.upstream.name, reason=error.detail)


async def _send_body(answer: ClientResponse, send: Send, patience: float) -> None:
    async for part in answer.content.iter_any():
        await _send_part(send, part, patience)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_part(send: Send, part: bytes, patience: float) -> None:
    """Send, for as long as the caller goes on to read: it takes a place at the upstream."""
    try:
        async with asyncio.timeout(patience):
            await send({"type": "http.response.body", "body": part, "more_body": True})
    except TimeoutError:
        raise CallerTooSlowError("The answer is not read") from None
