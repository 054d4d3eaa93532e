"""Asking an upstream, and knowing when not to ask."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from math import ceil
from secrets import randbelow
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

import structlog
from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientHandlerType,
    ClientOSError,
    ClientRequest,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    ClientWebSocketResponse,
    ClientWSTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
    WSServerHandshakeError,
)
from multidict import CIMultiDict
from starlette.exceptions import HTTPException
from yarl import URL

from app.core.breaker import Breaker, BreakerOpenError, State
from app.core.errors import (
    DeadlineExceededError,
    ExternalServiceError,
    RateLimitedError,
    ServiceUnavailableError,
)
from app.core.gateway.callers import CallerName
from app.core.gateway.calling import Caller
from app.core.gateway.settings import Upstream
from app.core.http.counters import Outcome, count
from app.core.piece import Details

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

log = structlog.get_logger(logger_name="app.gateway")

AnswerT = TypeVar("AnswerT")

UNAVAILABLE = frozenset({502, 503, 504})
"""Answers that say that the upstream, not the request, is at fault. A 500 may be the request's."""
OUT_OF_TIME = frozenset({503, 504})
"""Those among them that an upstream may also give because it was told that there is little time."""
PROBE_SECONDS = 2.0
_KEPT_SECONDS = 3.0
"""How long an idle connection is kept: less than servers do, which would close it under us."""
_LONGEST_FIELD = 131_072
"""Bytes. Longer than what a caller can have an upstream repeat: a target or a header, encoded."""
_HEARTBEAT_SECONDS = 30.0
_CLOSING_SECONDS = 5.0
_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""What the client would add; the caller has said it, or has not."""


class _UnavailableAnswer(Exception):  # noqa: N818 - not an error: an answer that counts as one
    def __init__(self, answer: ClientResponse) -> None:
        super().__init__(answer.status)
        self.answer = answer


class _HurriedAnswer(_UnavailableAnswer):
    """The caller may have given it too little time: any caller could open the breaker by that."""


class _BrokenOffError(ClientError):
    """The connection has ended before the answer began."""


class _UploadCutError(ClientError):
    """The same while the caller was sending: a refusal may have been lost with the connection."""


class Places:
    """So many may be at an upstream at a time.

    Args:
        name: the upstream's.
        kind: what takes a place.
        most: how many there are.
        share: what part of them one caller may take: at least one.
    """

    def __init__(self, name: str, kind: str, most: int, share: float) -> None:
        self._name = name
        self._kind = kind
        self._most = most
        self._each = ceil(most * share)
        self._callers = Counter[CallerName]()

    @property
    def taken(self) -> int:
        """How many are taken."""
        return self._callers.total()

    @contextmanager
    def one(self, caller: CallerName) -> Iterator[None]:
        """Take one in this block.

        Raises:
            RateLimitedError: this caller has its share.
            ServiceUnavailableError: all are taken.
        """
        if self.taken >= self._most:
            count(self._name, Outcome.TOO_MANY)
            raise ServiceUnavailableError(f"{self._name} has as many {self._kind} as it can take")
        # Not counted: an alert would tell of the upstream what is one caller's doing.
        if self._callers[caller] >= self._each:
            raise RateLimitedError(f"One caller may have {self._each} {self._kind} at {self._name}")
        self._callers[caller] += 1
        try:
            yield
        finally:
            self._callers -= Counter([caller])  # keeps no caller who has none


class Connected:
    """An upstream while the service runs.

    Args:
        name: the one in the table.
        upstream: what the table says of it.
        session: its connections.
    """

    def __init__(self, name: str, upstream: Upstream, session: ClientSession) -> None:
        self.name = name
        self.upstream = upstream
        self.breaker = Breaker(
            f"upstream {name}",
            failures=upstream.breaker_failures,
            rest=upstream.breaker_rest,
            silent=(_UploadCutError, _HurriedAnswer),
        )
        share = upstream.share
        self.requests = Places(name, "requests", upstream.max_concurrent, share)
        # Places of their own: a WebSocket may be kept for ever, and would leave none to requests.
        self.sockets = Places(name, "WebSockets", upstream.max_sockets, share)
        self._session = session

    def address(self, target: str) -> URL:
        """Give the address of a target, which is taken as it is."""
        return URL(self.upstream.url + target, encoded=True)

    @asynccontextmanager
    async def asked(
        self, method: str, target: str, headers: CIMultiDict[str], caller: Caller
    ) -> AsyncIterator[ClientResponse]:
        """Ask for something; the answer's body can be read in this block.

        Raises:
            DeadlineExceededError: no answer in time.
            ExternalServiceError: an answer that is none, or the connection broke.
            ServiceUnavailableError: no connection, or the breaker is open.
        """
        with self._told():
            answer = await self._answer(method, target, headers, caller)
        try:
            yield answer
        except BaseException:
            answer.close()
            raise
        # A connection on which a body was not sent to its end must not see another request.
        if caller.body_is_over:
            answer.release()
        else:
            answer.close()

    async def _answer(
        self, method: str, target: str, headers: CIMultiDict[str], caller: Caller
    ) -> ClientResponse:
        async def ask() -> ClientResponse:
            try:
                return await self._session.request(
                    method,
                    self.address(target),
                    headers=headers,
                    data=caller.body() if caller.has_body else None,
                    allow_redirects=False,
                )
            except _BrokenOffError as error:
                if caller.body_is_over:
                    raise
                raise _UploadCutError(str(error)) from error

        started = perf_counter()
        try:
            with self.breaker.attempt():
                async with asyncio.timeout(self.upstream.timeout) as limit:
                    with caller.giving_time(limit, self.upstream.timeout):
                        answer = await self._connecting(ask)
                _judge(answer, hurried=self._is_hurried(caller))
        except _UnavailableAnswer as unavailable:
            hurried = isinstance(unavailable, _HurriedAnswer)
            outcome = Outcome.ABANDONED if hurried else Outcome.FAILED
            count(self.name, outcome, perf_counter() - started)
            return unavailable.answer
        count(self.name, Outcome.ANSWERED, perf_counter() - started)
        return answer

    def _is_hurried(self, caller: Caller) -> bool:
        return caller.waits is not None and caller.waits < self.upstream.timeout

    async def talking(
        self, target: str, headers: CIMultiDict[str], protocols: list[str]
    ) -> ClientWebSocketResponse:
        """Open a WebSocket.

        Raises:
            DeadlineExceededError: no answer in time.
            ExternalServiceError: an answer that is none, or the connection broke.
            HTTPException: the upstream refuses, with a status of its own.
            ServiceUnavailableError: no connection, or the breaker is open.
        """

        async def ask() -> ClientWebSocketResponse:
            return await self._session.ws_connect(
                self.address(target),
                headers=headers,
                protocols=protocols,
                max_msg_size=self.upstream.max_message_bytes + 1,  # which is refused as well
                heartbeat=_HEARTBEAT_SECONDS,
                autoclose=False,  # it would wait for the upstream before the caller is told
                timeout=ClientWSTimeout(ws_receive=None, ws_close=_CLOSING_SECONDS),
            )

        started = perf_counter()
        with self._told(), self.breaker.attempt():
            try:
                async with asyncio.timeout(self.upstream.timeout):
                    remote = await self._connecting(ask)
            except WSServerHandshakeError as error:
                # Any caller may ask for one where there are only pages: no failure of the upstream.
                if error.status in UNAVAILABLE:
                    raise
                remote, status = None, error.status
        count(self.name, Outcome.ANSWERED, perf_counter() - started)
        if remote is not None:
            return remote
        if 400 <= status < 500:
            raise HTTPException(status, f"{self.name} refuses this WebSocket")
        raise ExternalServiceError(f"{self.name} has no WebSocket there")

    async def _connecting(self, ask: "Callable[[], Awaitable[AnswerT]]") -> AnswerT:
        """Ask again when there was no connection, so that nothing can have arrived."""
        for _ in range(self.upstream.connect_retries):
            try:
                return await ask()
            except (ClientConnectorError, ConnectionTimeoutError):
                await _pause()
        return await ask()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Count what went wrong, and tell the caller what and the log why."""
        started = perf_counter()
        try:
            yield
        except BreakerOpenError as error:
            count(self.name, Outcome.BREAKER_OPEN)
            raise ServiceUnavailableError(
                f"{self.name} does not answer", retry_after=ceil(error.retry_after)
            ) from error
        except (ClientConnectorError, ConnectionTimeoutError) as error:
            self._failed(error, Outcome.FAILED, started)
            raise ServiceUnavailableError(f"{self.name} cannot be reached") from error
        except TimeoutError as error:
            self._failed(error, Outcome.TIMED_OUT, started)
            raise DeadlineExceededError(f"{self.name} did not answer in time") from error
        except (ClientError, OSError, ValueError) as error:
            self._failed(error, Outcome.FAILED, started)
            raise ExternalServiceError(f"{self.name} has not answered properly") from error

    def _failed(self, error: Exception, outcome: Outcome, started: float) -> None:
        count(self.name, outcome, perf_counter() - started)
        # The other text of these names the address with its query, where secrets may be.
        said = error.message if isinstance(error, ClientResponseError) else error
        log.warning("upstream fails", upstream=self.name, reason=f"{type(error).__name__}: {said}")

    async def probe(self) -> Details:
        """Ask for its health, whatever the breaker says.

        Raises:
            RuntimeError: it is not well.
        """
        state = self.breaker.state
        async with self._session.get(
            self.address(self.upstream.health),
            timeout=ClientTimeout(total=PROBE_SECONDS),
            allow_redirects=False,
        ) as answer:
            if answer.status >= 500:
                raise RuntimeError(f"{self.upstream.health} answers {answer.status}")
        if state is State.OPEN:
            raise RuntimeError("the breaker is open")
        return {
            "status": answer.status,
            "breaker": state.value,
            "in_use": self.requests.taken,
            "sockets": self.sockets.taken,
        }


async def _pause() -> None:
    await asyncio.sleep((50 + randbelow(100)) / 1000)


def _judge(answer: ClientResponse, *, hurried: bool) -> None:
    if hurried and answer.status in OUT_OF_TIME:
        raise _HurriedAnswer(answer)
    if answer.status in UNAVAILABLE:
        raise _UnavailableAnswer(answer)
    if not 200 <= answer.status < 600:
        answer.close()
        raise ClientError(f"the status {answer.status}")


async def _once(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Keep the client from asking again, and WebSockets from following redirects."""
    try:
        answer = await handler(request)
    except (ClientConnectorError, ConnectionTimeoutError):
        raise
    except (ClientOSError, ServerDisconnectedError) as error:
        # The client itself would send idempotent requests twice; some of them do something.
        raise _BrokenOffError(f"{type(error).__name__}: {error}") from error
    if "Upgrade" in request.headers and 300 <= answer.status < 400:
        answer.close()
        raise WSServerHandshakeError(answer.request_info, (), status=answer.status)
    return answer


@asynccontextmanager
async def connect(name: str, upstream: Upstream) -> AsyncIterator[Connected]:
    """Keep connections to an upstream in this block."""
    async with ClientSession(
        auto_decompress=False,
        connector=TCPConnector(limit=0, keepalive_timeout=_KEPT_SECONDS),
        cookie_jar=DummyCookieJar(),
        max_field_size=_LONGEST_FIELD,
        max_line_size=_LONGEST_FIELD,
        middlewares=(_once,),
        skip_auto_headers=_AUTOMATIC,
        timeout=ClientTimeout(
            total=None, connect=upstream.connect_timeout, sock_read=upstream.idle_timeout
        ),
    ) as session:
        yield Connected(name, upstream, session)


_running: dict[int, list[dict[str, Connected]]] = {}
"""The upstreams of each application that runs, by its settings: one may run within another."""


@asynccontextmanager
async def running(settings: "CoreSettings") -> AsyncIterator[None]:
    """Be connected to the upstreams in this block."""
    async with AsyncExitStack() as stack:
        mine = {
            name: await stack.enter_async_context(connect(name, each))
            for name, each in settings.gateway_upstreams.items()
        }
        _running.setdefault(id(settings), []).append(mine)
        try:
            yield
        finally:
            _running[id(settings)].remove(mine)
            if not _running[id(settings)]:
                del _running[id(settings)]


def all_connected(settings: "CoreSettings") -> Mapping[str, Connected]:
    """Give all upstreams of an application that runs, by their names."""
    return _running[id(settings)][-1]


def connected(settings: "CoreSettings", name: str) -> Connected:
    """Give an upstream of an application that runs."""
    return all_connected(settings)[name]
