"""The one client of this process, and what keeps Redis from being a reason to fail.

A question takes half a second at most. After some failures in a row nobody asks any more (a circuit
breaker), and a task in the background looks whether Redis is back: no request waits for that.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from redis.commands.core import AsyncScript
from redis.exceptions import DataError, RedisClusterException, RedisError, ResponseError

from app.core.breaker import Breaker, BreakerOpenError, State
from app.core.errors import ServiceUnavailableError
from app.core.piece import Details
from app.core.redis.address import Address
from app.core.redis.connection import Client, connected
from app.core.signals import Signal
from app.core.traces.trace import step

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

log = structlog.get_logger(logger_name="app.redis")

AnswerT = TypeVar("AnswerT")
Question = Callable[[Client], Awaitable[AnswerT]]
Hook = Callable[[Client], Awaitable[None]]

AWAY = (RedisError, RedisClusterException, OSError)
"""What redis-py raises when Redis is away, or answers nonsense."""
FAILURES = 3
REST_SECONDS = 1.0
LOG_SECONDS = 60.0

asked: Signal[[str]] = Signal()
"""Told of each question: it was answered, has failed, or was refused since the last ones have."""

_REFUSALS = ("WRONGTYPE", "value is not an integer", "increment or decrement would overflow")
_NOT_STARTED = "Redis is used outside of the application's lifespan"


class RedisAwayError(ServiceUnavailableError):
    """Redis does not answer, or there is none."""


class _BusyError(TimeoutError):
    """All connections were in use for as long as one waits: that says nothing about Redis."""


class Refused(Exception):  # noqa: N818 - an answer of Redis, and no reason not to ask it again
    """Redis has understood the question and says no: the key holds something else."""


class Link:
    """Asks Redis, if it is there. Usable between start and stop of the application."""

    def __init__(self) -> None:
        self._client: Client | None = None
        self._address: Address | None = None
        self._breaker = Breaker("redis")
        self._seconds = 0.0
        self._places = asyncio.Semaphore()
        self._prefix = ""
        self._looking: asyncio.Task[None] | None = None
        self._logged_at = float("-inf")
        self._hooks: list[Hook] = []
        self._scripts: dict[str | bytes, Any] = {}

    @property
    def client(self) -> Client:
        """The client itself, for what `ask` does not fit, such as subscriptions.

        Raises:
            RuntimeError: the service does not run, or has no Redis.
        """
        if self._client is None:
            raise RuntimeError(_NOT_STARTED)
        return self._client

    @property
    def configured(self) -> bool:
        """Whether this service has a Redis at all."""
        return self._client is not None

    @property
    def answers(self) -> bool:
        """Whether there is a Redis and it has answered lately."""
        return self._client is not None and self._breaker.state is State.CLOSED

    def key(self, *names: str) -> str:
        """Name a key of this service."""
        return ":".join((self._prefix, *names))

    async def ask(self, question: Question[AnswerT]) -> AnswerT:
        """Ask Redis something, for half a second at most (twice `REDIS_TIMEOUT`).

        A question whose connection is lost may be asked a second time.

        Args:
            question: is given the client.

        Raises:
            RedisAwayError: it does not answer, or has not lately.
            Refused: it has answered that the key holds something else.
            TypeError: the question carries what Redis cannot keep.
        """
        if not self.answers:
            if self.configured:
                asked("refused")
            raise RedisAwayError("Redis does not answer")
        try:
            with self._breaker.attempt(), step("redis", db_system_name="redis"):
                answer = await self._within_time(question)
        except AWAY as error:
            asked("failed")
            self._notice(error)
            raise RedisAwayError("Redis does not answer") from error
        except Refused:
            asked("answered")
            raise
        asked("answered")
        return answer

    async def run(self, script: str | bytes, keys: Sequence[str], values: Sequence[Any]) -> Any:
        """Run a Lua script, sent whole only when Redis does not know it yet.

        Raises:
            RedisAwayError: it does not answer, or has not lately.
            Refused: it has answered that a key holds something else.
        """
        if (known := self._scripts.get(script)) is None:
            known = self._scripts[script] = AsyncScript(self.client, script)
        return await self.ask(lambda redis: known(keys=keys, args=values, client=redis))

    def when_back(self, hook: Hook) -> Callable[[], None]:
        """Have something done each time when Redis is back, before anybody asks it again.

        Returns:
            Call it to have it done no more.
        """
        self._hooks.append(hook)
        return lambda: self._hooks.remove(hook)

    async def probe(self) -> Details:
        """Ask whether it is there, for the health check.

        Raises:
            RedisAwayError: it is not.
        """
        if self._client is None or self._address is None:
            raise RedisAwayError("neither REDIS_URL nor UPSTASH_REDIS_URL is set, or it is off")
        details: Details = {"kind": self._address.kind, "encrypted": self._address.encrypted}
        if self._address.kind == "cluster":  # each of its nodes has its own memory
            await self.ask(lambda redis: redis.ping())
            return details
        return {**details, **await self.ask(_memory)}

    @asynccontextmanager
    async def established(self, settings: "CoreSettings") -> AsyncIterator[None]:
        """Hold the client; connections are made when they are needed."""
        before = vars(self).copy()
        vars(self).update(vars(Link()))
        self._prefix = settings.redis_key_prefix
        self._address = settings.parsed_redis_address
        try:
            if self._address is None:
                _tell_that_there_is_none(settings)
                yield
                return
            self._seconds = 2 * settings.redis_timeout
            # Only the pool of a single server would let questions wait for each other.
            self._places = asyncio.Semaphore(settings.redis_max_connections)
            self._breaker = Breaker(
                "redis", failures=FAILURES, rest=REST_SECONDS, counted=AWAY, silent=(_BusyError,)
            )
            async with connected(
                self._address,
                patience=settings.redis_timeout,
                max_connections=settings.redis_max_connections,
            ) as self._client:
                try:
                    yield
                finally:
                    await self._stop_looking()
        finally:
            vars(self).update(before)

    async def _within_time(self, question: Question[AnswerT]) -> AnswerT:
        this = asyncio.current_task()
        # Until Python 3.11.3 every timeout within a task that was cancelled cancels it once more
        # (CPython 102780), and redis-py 5 looks with one whether a connection is usable.
        if this is not None and this.cancelling():
            return await asyncio.create_task(self._in_turn(question))
        return await self._in_turn(question)

    async def _in_turn(self, question: Question[AnswerT]) -> AnswerT:
        asking = False
        try:
            async with asyncio.timeout(self._seconds), self._places:
                asking = True
                return await question(self._client)
        except TimeoutError as error:
            if asking:
                raise
            raise _BusyError("all connections are in use") from error
        except DataError as error:
            raise TypeError(str(error)) from error
        except ResponseError as error:
            if str(error).startswith(_REFUSALS):
                raise Refused(str(error)) from error
            raise

    def _notice(self, error: Exception) -> None:
        now = monotonic()
        if now - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            log.warning("redis is away", reason=f"{type(error).__name__}: {error}")
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_until_it_is_back())

    async def _look_until_it_is_back(self) -> None:
        found = False
        # Questions may open the breaker meanwhile: then only a further look closes it.
        while not (found and self.answers):
            found = False
            await asyncio.sleep(self._breaker.retry_after or REST_SECONDS / 10)
            with suppress(BreakerOpenError, *AWAY), self._breaker.attempt():
                await self._within_time(lambda redis: redis.ping())
                for hook in self._hooks:
                    async with self._places:
                        await hook(self._client)
                found = True
        self._logged_at = float("-inf")
        log.info("redis is back")

    async def _stop_looking(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])


async def _memory(redis: Client) -> Details:
    """Give the bytes that it uses, and those that it may use where there is a limit."""
    try:
        told = await redis.info("memory")
    except ResponseError:  # it answers, but not that question, or not us
        await redis.ping()
        return {}
    found = {"memory_bytes": told.get("used_memory"), "memory_limit_bytes": told.get("maxmemory")}
    return {name: value for name, value in found.items() if value}


def _tell_that_there_is_none(settings: "CoreSettings") -> None:
    if settings.environment in {"staging", "production"}:
        log.warning("no redis: each process caches, counts and locks alone")


link = Link()


def client() -> Client:
    """Give the one client of this process.

    Raises:
        RuntimeError: the service does not run, or has no Redis.
    """
    return link.client
