"""Another service: how it is called, what is waited for, and when it is left alone."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack
from weakref import WeakValueDictionary

import httpx2
import stamina
import structlog
from httpx2 import URL, AsyncClient, Auth, Request, Response
from pydantic import TypeAdapter, ValidationError

from app.core import context, deadline
from app.core.breaker import Breaker, BreakerOpenError, State
from app.core.http.counters import Outcome, count
from app.core.http.errors import (
    UpstreamError,
    UpstreamFailedError,
    UpstreamRefusedError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from app.core.http.guard import Guard, GuardedTransport, tls
from app.core.http.pacing import Pace, RetryBudget
from app.core.http.paths import climbs
from app.core.http.settings import HttpSettings
from app.core.traces.trace import step, traceparent

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

log = structlog.get_logger(logger_name="app.http")

T = TypeVar("T")

OUT_OF_TIME = frozenset({503, 504})
"""Answers that may come of our caller's deadline, which is passed on."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""They change nothing (RFC 9110, 9.2.1), so they may be repeated."""
MOST_REDIRECTS = 5
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 2.0
_MOST_FAULTS = 5
_TRAVELLING = ("accept", "user-agent", "x-request-id", "traceparent", "x-request-timeout")
"""What a host to which we are redirected may know; nothing that proves who we are."""


class _HurriedError(UpstreamFailedError):
    """Our caller may have given it too little time: any caller could open the breaker by that."""


class CallOptions(TypedDict, total=False):
    """What one upstream may do otherwise; see `CallLimits`."""

    connect_timeout: float
    read_timeout: float
    total_timeout: float
    queue_timeout: float
    concurrency: int
    attempts: int
    breaker_failures: int
    breaker_rest: float
    max_response_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """How far a call may go; the settings `HTTP_…` of the same names say what they are."""

    connect_timeout: float
    read_timeout: float
    total_timeout: float
    queue_timeout: float
    concurrency: int
    attempts: int
    breaker_failures: int
    breaker_rest: float
    max_response_bytes: int

    @classmethod
    def of(cls, settings: HttpSettings) -> "CallLimits":
        """What the settings say."""
        return cls(**{field.name: getattr(settings, f"http_{field.name}") for field in fields(cls)})


class Upstream:
    """Another service that is called over HTTP. Make one per service, when a module is loaded.

    Args:
        name: for errors, logs and `/health/detailed`; not the name of another one.
        base_url: where it is, `https://api.example.com/v1`, or how the settings tell.
        private: it is one of our own, so that it may have a private address. Never for addresses
            that somebody else may choose.
        redirects_to: hosts besides its own to which it may redirect.
        rate: calls per second in the long run, in this process; and `burst`, how many at once.
        options: limits that differ from the settings `HTTP_…`.

    Raises:
        ValueError: there is another one of this name.
    """

    def __init__(
        self,
        name: str,
        base_url: "str | Callable[[CoreSettings], str]",
        *,
        private: bool = False,
        redirects_to: Collection[str] = (),
        rate: float | None = None,
        burst: int = 1,
        **options: Unpack[CallOptions],
    ) -> None:
        if name in UPSTREAMS:
            raise ValueError(f"there is an upstream {name!r} already")
        self.name = name
        self.base_url = base_url
        self.private = private
        self.redirects_to = frozenset(redirects_to)
        self.rate = rate
        self.burst = burst
        self.options = options
        UPSTREAMS[name] = self

    async def request(
        self, method: str, path: str, *, auth: Auth | None = None, **parts: Any
    ) -> Response:
        """Call it, and give whatever answer below 500 it has, with its body.

        Args:
            method: safe ones are repeated when that may help, others never.
            path: below the base URL, without `..`; put what callers say into `params`.
            auth: signs or authorises each attempt.
            parts: `params`, `json`, `content`, `data`, `headers`, as httpx2 takes them; no streams.

        Raises:
            UpstreamError: there is no such answer; the subclasses say why.
            ValueError: the path leads elsewhere.
        """
        return await _line(self).call(method, path, auth, parts, lambda response: response)

    async def read(
        self, shape: type[T], method: str, path: str, *, auth: Auth | None = None, **parts: Any
    ) -> T:
        """Call it as `request` does, and read the JSON of a successful answer (2xx).

        Raises:
            UpstreamRefusedError: the answer is no success.
            UpstreamFailedError: it has not this shape.
            UpstreamError: there is no answer; the subclasses say why.
        """
        adapter: TypeAdapter[T] = TypeAdapter(shape)

        def parse(response: Response) -> T:
            if not response.is_success:
                raise UpstreamRefusedError(self.name, response)
            try:
                return adapter.validate_json(response.content)
            except ValidationError as error:
                raise UpstreamFailedError(self.name, "answered nonsense") from error

        return await _line(self).call(method, path, auth, parts, parse)

    def accept(self, shape: type[T], value: object) -> T:
        """Read a part of an answer whose shape depended on another part.

        Raises:
            UpstreamFailedError: it has not this shape.
        """
        try:
            return TypeAdapter(shape).validate_python(value)
        except ValidationError as error:
            raise UpstreamFailedError(self.name, "answered nonsense") from error


UPSTREAMS: WeakValueDictionary[str, Upstream] = WeakValueDictionary()


class Line:
    """The way to one upstream while the service runs: connections, breaker, turns and budget."""

    def __init__(self, upstream: Upstream, settings: "CoreSettings") -> None:
        self.name = upstream.name
        self.limits = replace(CallLimits.of(settings), **upstream.options)
        base = upstream.base_url
        self.base = URL(base if isinstance(base, str) else base(settings))
        self.breaker = Breaker(
            upstream.name,
            failures=self.limits.breaker_failures,
            rest=self.limits.breaker_rest,
            counted=(UpstreamFailedError, UpstreamTimeoutError),
            silent=(_HurriedError,),
        )
        self._guard = Guard(upstream.name, settings.http_private_networks, private=upstream.private)
        self._hosts = upstream.redirects_to
        self._slots = asyncio.Semaphore(self.limits.concurrency)
        self._pace = Pace(upstream.rate, upstream.burst) if upstream.rate else None
        self._budget = RetryBudget()
        self._client: AsyncClient | None = None

    async def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            await self._client.aclose()

    async def call(
        self,
        method: str,
        path: str,
        auth: Auth | None,
        parts: Mapping[str, Any],
        read: Callable[[Response], T],
    ) -> T:
        """Call until there is an answer, it makes no sense any more, or our caller has gone."""
        started = perf_counter()
        try:
            # Outside of the breaker: that our caller is in a hurry is not the upstream's failure,
            # and would else be a way to open the breaker for all others.
            async with asyncio.timeout(deadline.remaining()):
                return await self._repeat(method, path, auth, parts, read)
        except TimeoutError:
            count(self.name, Outcome.ABANDONED, perf_counter() - started)
            raise UpstreamTimeoutError(self.name, "did not answer in the time left") from None

    async def _repeat(
        self,
        method: str,
        path: str,
        auth: Auth | None,
        parts: Mapping[str, Any],
        read: Callable[[Response], T],
    ) -> T:
        end = monotonic() + self.limits.total_timeout
        attempts = self.limits.attempts if method.upper() in SAFE_METHODS else 1
        self._budget.earn()
        made = 0

        def again(error: Exception) -> bool | float:
            if made == attempts or not isinstance(error, UpstreamError) or not error.passing:
                return False
            wait = error.wait or FIRST_WAIT_SECONDS * 2**made
            if monotonic() + wait > end or not self._budget.spend():
                return False
            count(self.name, Outcome.RETRIED)
            return error.wait or True

        async for attempt in stamina.retry_context(
            on=again,
            attempts=attempts,
            timeout=None,
            wait_initial=FIRST_WAIT_SECONDS,
            wait_max=LONGEST_WAIT_SECONDS,
            wait_jitter=FIRST_WAIT_SECONDS,
        ):
            with attempt:
                made += 1
                async with self._turn(end):
                    with step(method, server_address=self.base.host, peer_service=self.name):
                        request = await self._build(method, path, parts, end)
                        return await self._attempt(request, auth, read, end)
        raise AssertionError("stamina raises when it gives up")

    @asynccontextmanager
    async def _turn(self, end: float) -> AsyncIterator[None]:
        if self.breaker.state is State.OPEN:  # before waiting for a turn that is of no use
            raise self._left_alone()
        await self._keep_pace(end)
        try:
            async with asyncio.timeout(self.limits.queue_timeout):
                await self._slots.acquire()
        except TimeoutError:
            count(self.name, Outcome.TOO_MANY)
            raise UpstreamUnavailableError(self.name, "is called too often just now") from None
        try:
            yield
        finally:
            self._slots.release()

    def _left_alone(self) -> UpstreamUnavailableError:
        count(self.name, Outcome.BREAKER_OPEN)
        wait = self.breaker.retry_after
        return UpstreamUnavailableError(self.name, "does not answer", wait=wait)

    async def _keep_pace(self, end: float) -> None:
        if self._pace is None:
            return
        # Half of the time is for the asking: a turn with none left would count as a failure.
        longest = max(end - monotonic(), 0.0) / 2
        if (callers := deadline.remaining()) is not None:
            # A turn that its caller will not see would be missed by the others.
            longest = min(longest, callers)
        wait = self._pace.reserve(longest)
        if wait is None:
            count(self.name, Outcome.TOO_MANY)
            raise UpstreamUnavailableError(self.name, "is called too often just now")
        if wait:
            await asyncio.sleep(wait)

    async def _build(self, method: str, path: str, parts: Mapping[str, Any], end: float) -> Request:
        client = await self._connected()
        headers = httpx2.Headers(parts.get("headers"))
        for name, value in self._telling(end).items():
            headers.setdefault(name, value)
        request = client.build_request(method, path, **{**parts, "headers": headers})
        below = self.base.raw_path.partition(b"?")[0].rstrip(b"/") + b"/"
        raw = request.url.raw_path.partition(b"?")[0]
        inside = raw.startswith(below) and not climbs(raw)
        if _origin(request.url) != _origin(self.base) or not inside:
            raise ValueError(f"a path below that of {self.name} is wanted, without '..'")
        return request

    def _telling(self, end: float) -> dict[str, str]:
        left = end - monotonic()
        if (callers := deadline.remaining()) is not None:
            left = min(left, callers)
        told = {deadline.HEADER: deadline.told(left)}
        if request_id := context.request_id.get():
            told["X-Request-ID"] = request_id
        if trace := traceparent():
            told["traceparent"] = trace
        return told

    async def _attempt(
        self, request: Request, auth: Auth | None, read: Callable[[Response], T], end: float
    ) -> T:
        started = perf_counter()
        try:
            with self.breaker.attempt():
                answer = await self._exchange(request, auth, read, end)
        except BreakerOpenError:
            raise self._left_alone() from None
        except UpstreamError as error:
            outcome = _outcome(error)
            count(self.name, outcome, perf_counter() - started)
            if outcome is not Outcome.ANSWERED:
                log.warning(
                    "call failed", upstream=self.name, outcome=outcome, reason=_reason(error)
                )
            raise
        count(self.name, Outcome.ANSWERED, perf_counter() - started)
        return answer

    async def _exchange(
        self, request: Request, auth: Auth | None, read: Callable[[Response], T], end: float
    ) -> T:
        try:
            async with asyncio.timeout(max(end - monotonic(), 0.0)):
                response = await self._follow(request, auth)
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise UpstreamTimeoutError(self.name, "did not answer in time") from error
        except httpx2.LocalProtocolError:
            raise  # what was to be sent is no HTTP, and that is nobody else's failure
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            raise UpstreamFailedError(self.name, "could not be reached or broke off") from error
        if response.is_server_error:
            said = f"answered by an error ({response.status_code})"
            hurried = response.status_code in OUT_OF_TIME and _callers_time_is_shorter(end)
            kind = _HurriedError if hurried else UpstreamFailedError
            raise kind(self.name, said, wait=_retry_after(response))
        return read(response)

    async def _follow(self, request: Request, auth: Auth | None) -> Response:
        client = await self._connected()
        for _ in range(MOST_REDIRECTS + 1):
            response = await client.send(request, auth=auth, stream=True)
            try:
                following = response.next_request
                if following is None:
                    return await self._complete(response)
            finally:
                await response.aclose()
            if following.method not in SAFE_METHODS:
                raise UpstreamError(self.name, "redirects what must not be repeated")
            if _origin(following.url) != _origin(request.url):
                auth = None
                following = self._elsewhere(request, following)
            request = following
        raise UpstreamError(self.name, "redirects without an end")

    def _elsewhere(self, request: Request, following: Request) -> Request:
        url = following.url
        weaker = request.url.scheme == "https" and url.scheme != "https"
        if weaker or url.host not in self._hosts:
            raise UpstreamError(self.name, "redirects to somewhere else")
        kept = {name: value for name, value in request.headers.items() if name in _TRAVELLING}
        bare = url.copy_with(username=None, password=None)
        return Request(following.method, bare, headers=kept, extensions=request.extensions)

    async def _complete(self, response: Response) -> Response:
        """Read the body, and give the response as if it had come without any encoding."""
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > self.limits.max_response_bytes:
                raise UpstreamError(self.name, "answered more than is read")
        encoding = ("content-encoding", "content-length", "transfer-encoding")
        headers = [pair for pair in response.headers.multi_items() if pair[0] not in encoding]
        return Response(
            response.status_code, headers=headers, content=bytes(body), request=response.request
        )

    async def _connected(self) -> AsyncClient:
        if self._client is None:
            tls_context = await asyncio.to_thread(tls)
            if self._client is None:
                self._client = self._make_client(
                    GuardedTransport(self._guard, tls_context, self.limits.concurrency)
                )
        return self._client

    def _make_client(self, transport: GuardedTransport) -> AsyncClient:
        return AsyncClient(
            base_url=self.base,
            transport=transport,
            # A cookie that is set in answer to one caller is nobody else's.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            # Neither a proxy nor a .netrc of the machine: they would lead past the guard.
            trust_env=False,
            timeout=httpx2.Timeout(
                self.limits.read_timeout,
                connect=self.limits.connect_timeout,
                pool=self.limits.connect_timeout,
            ),
        )


class Lines:
    """The ways to all upstreams, made when they are first used."""

    def __init__(self, settings: "CoreSettings") -> None:
        self._settings = settings
        self._lines: dict[str, Line] = {}

    def to(self, upstream: Upstream) -> Line:
        """The way to one."""
        if upstream.name not in self._lines:
            self._lines[upstream.name] = Line(upstream, self._settings)
        return self._lines[upstream.name]

    async def close(self) -> None:
        """Hang up everywhere."""
        for line in self._lines.values():
            await line.close()


_running: list[Lines] = []


@asynccontextmanager
async def calling(settings: "CoreSettings") -> AsyncIterator[None]:
    """Let upstreams be called in the block; the running service is inside of one."""
    lines = Lines(settings)
    _running.append(lines)
    try:
        yield
    finally:
        _running.remove(lines)
        await lines.close()


def _line(upstream: Upstream) -> Line:
    if not _running:
        raise RuntimeError("the service is not started: use app.core.http.upstream.calling")
    return _running[-1].to(upstream)


def states() -> dict[str, State]:
    """The state of each upstream's breaker."""
    return {name: _line(upstream).breaker.state for name, upstream in sorted(UPSTREAMS.items())}


def _origin(url: URL) -> tuple[str, str, int | None]:
    default = {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, url.port or default


def _callers_time_is_shorter(end: float) -> bool:
    callers = deadline.remaining()
    return callers is not None and callers < end - monotonic()


def _outcome(error: UpstreamError) -> Outcome:
    if isinstance(error, UpstreamRefusedError):
        return Outcome.ANSWERED
    if isinstance(error, UpstreamTimeoutError):
        return Outcome.TIMED_OUT
    if isinstance(error, _HurriedError):
        return Outcome.ABANDONED
    return Outcome.FAILED if isinstance(error, UpstreamFailedError) else Outcome.USELESS


def _reason(error: UpstreamError) -> str:
    """What the log is told of a failure, without what was answered."""
    cause = error.__cause__ or error
    text = str(cause)
    if isinstance(cause, ValidationError):
        faults = cause.errors(include_input=False, include_context=False, include_url=False)
        places = [(".".join(map(str, fault["loc"])), fault["type"]) for fault in faults]
        text = ", ".join(f"{place} ({fault})" for place, fault in places[:_MOST_FAULTS])
    return f"{type(cause).__name__}: {text}"


def _retry_after(response: Response) -> float | None:
    """Seconds of `Retry-After`; a date is not understood, as clocks differ."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 10 else None
