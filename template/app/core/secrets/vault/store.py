"""Vault behind the port of secrets: looked at in the background, never while a request waits."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

import stamina
import structlog
from hvac.exceptions import InvalidRequest
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource

from app.core.piece import Check, Details
from app.core.secrets.environment import MemoryStore
from app.core.secrets.port import (
    Secret,
    SecretConflictError,
    SecretsUnavailableError,
    Store,
    Values,
    secrets,
)
from app.core.secrets.vault.session import OUTAGES, PASSING, Session, session_for
from app.core.signals import Signal

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

log = structlog.get_logger(logger_name="app.secrets")
ResultT = TypeVar("ResultT")

refresh_failed: Signal[[]] = Signal()
"""Told each time when the service's own secrets cannot be read."""

_BETWEEN_LOOKS = 0.05
"""Seconds from one look to the next, at least, however many want to know."""

_FIRST_RETRY = 1.0
_PATIENCE = 5.0
"""Seconds after which a question is not asked again."""
_LONGEST = 10.0
"""Seconds for a question as a whole: for a renewal and an answer as late as any VAULT_TIMEOUT."""


class VaultStore:
    """Documents in Vault, and the service's own secrets, which are looked at again and again.

    Args:
        session: logged in, or able to.
        interval: seconds after which changes are looked for, at the latest.
        take_up: told what Vault has.
    """

    def __init__(
        self, session: Session, interval: float, take_up: Callable[[Values], None]
    ) -> None:
        self._session = session
        self._interval = interval
        self._take_up = take_up
        self._looking = asyncio.Lock()
        self._look_began = float("-inf")
        self._failures = 0
        self._trouble: str | None = None

    # --- the service's own secrets ---

    async def start(self) -> None:
        """Take up what the settings have read already, then look again.

        Raises:
            RuntimeError: nothing was read before, and Vault does not answer now.
        """
        if self._session.last is not None:
            self._take_up(self._session.last.values)
        await self.refresh()
        if self._session.last is None:
            raise RuntimeError(self._trouble)

    async def keep_fresh(self) -> None:
        """Look for changes, and by that keep the token alive, for ever."""
        while True:
            await asyncio.sleep(self._pause())
            await self.refresh()

    def _pause(self) -> float:
        # The jitter keeps the processes of a service from asking all at once.
        if self._failures:
            backoff: float = _FIRST_RETRY * 2.0 ** min(self._failures - 1, 16)
            return min(self._interval, backoff * random.uniform(0.5, 1))  # noqa: S311
        pause = self._interval * random.uniform(0.8, 1)  # noqa: S311
        return min(pause, self._session.seconds_to_renewal())

    async def refresh(self) -> None:
        """Look now whether the service's own secrets have changed; never raises."""
        asked = monotonic()
        async with self._looking:
            if self._look_began > asked:
                return  # somebody else wanted to know, too
            await asyncio.sleep(self._look_began + _BETWEEN_LOOKS - asked)
            self._look_began = monotonic()
            await self._look()

    async def _look(self) -> None:
        try:
            found = await asyncio.to_thread(self._session.read_own)
        except OUTAGES as error:
            self._lost(self._session.explain(error))
            return
        if found is None:
            self._lost(self._session.explain_missing())
            return
        self._found(found)

    def _found(self, secret: Secret) -> None:
        self._failures = 0
        if self._trouble is not None:
            self._trouble = None
            log.info("vault answers again")
        self._take_up(secret.values)

    def _lost(self, reason: str) -> None:
        self._failures += 1
        refresh_failed()
        if self._trouble is None:
            log.warning("vault is out of reach: the last values stay", reason=reason)
        self._trouble = reason

    # --- other secrets ---

    async def get(self, path: str, version: int | None) -> Secret | None:
        """Read a document, its newest version or an older one."""
        return await self._ask(partial(self._session.read, path, version))

    async def put(self, path: str, values: Mapping[str, str], version: int | None) -> int:
        """Write a document, if its version is still this one, and give the new version."""
        # Once only: a write whose answer was lost would find its own version in the way.
        return await self._ask(partial(self._write, path, values, version), attempts=1)

    def _write(self, path: str, values: Mapping[str, str], version: int | None) -> int:
        try:
            return self._session.write(path, values, version)
        except InvalidRequest as error:
            if "check-and-set" not in str(error):
                raise
            raise SecretConflictError("The secret was changed meanwhile: read it again") from error

    async def delete(self, path: str) -> None:
        """Remove the newest version."""
        await self._ask(partial(self._session.remove, path))

    async def list(self, path: str) -> Sequence[str]:
        """Name what is below a path; what has more below it ends with a slash."""
        return await self._ask(partial(self._session.names, path))

    async def _ask(self, question: Callable[[], ResultT], *, attempts: int = 3) -> ResultT:
        retrying = stamina.retry_context(on=PASSING, attempts=attempts, timeout=_PATIENCE)
        try:
            async with asyncio.timeout(_LONGEST):
                async for attempt in retrying:
                    with attempt:
                        return await asyncio.to_thread(question)
        except OUTAGES as error:
            log.warning("vault refuses", reason=self._session.explain(error))
            raise SecretsUnavailableError("The store of secrets does not answer") from error
        raise AssertionError("stamina raises when it gives up")

    def describe(self) -> Details:
        """Say how it is, for operators.

        Raises:
            ConnectionError: Vault was out of reach when it was last looked at.
        """
        if self._trouble is not None:
            raise ConnectionError(self._trouble)
        last = self._session.last
        return {"source": "vault", "version": last.version if last else None}


@asynccontextmanager
async def open_store(
    settings: "CoreSettings", take_up: Callable[[Values], None]
) -> AsyncIterator[Store]:
    """Hold the store while the service runs; without VAULT_ADDR the environment is the source."""
    if not settings.asks_vault:
        log.info("vault is not asked: settings come from the environment")
        yield MemoryStore()
        return
    session = session_for(settings)
    store = VaultStore(session, settings.vault_refresh_seconds, take_up)
    await store.start()
    _log_sources(settings)
    keeper = asyncio.create_task(store.keep_fresh())
    try:
        yield store
    finally:
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper


def _log_sources(settings: "CoreSettings") -> None:
    """Name what each source has given; never a value."""
    kind = type(settings)
    sources = {
        "environment": EnvSettingsSource(kind)().keys(),
        "dotenv": DotEnvSettingsSource(kind)().keys(),
        "vault": settings.from_store,
    }
    known: set[str] = set()
    said = {}
    for source, names in sources.items():
        said[source] = sorted(name.upper() for name in names if name not in known)
        known |= names
    log.info("settings were read", **said)


async def _probe(_: "CoreSettings") -> Details:
    return secrets.describe()


CHECKS = (Check(name="vault", probe=_probe, required=False),)
