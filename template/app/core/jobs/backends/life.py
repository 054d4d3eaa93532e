"""How a worker tells that it lives: in Redis for the service, by a file for its container."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import gettempdir

import structlog

from app.core.jobs.attendance import going_on
from app.core.jobs.backends.redis import BEAT_SECONDS, RedisStore
from app.core.redis import RedisAwayError

log = structlog.get_logger(logger_name="app.jobs")


def heartbeat_file() -> Path:
    """The file that is touched while a worker lives; `docker/healthcheck.py` looks at its age."""
    return Path(gettempdir(), "worker-heartbeat")


@asynccontextmanager
async def alive(store: RedisStore) -> AsyncIterator[None]:
    """Tell everybody that this worker lives, until the block is left."""
    name, file = f"{socket.gethostname()}:{os.getpid()}", heartbeat_file()

    async def beat() -> None:
        while True:
            try:
                file.touch()
            except OSError as error:
                log.warning("heartbeat not written", file=str(file), reason=str(error))
            with suppress(RedisAwayError):
                await store.beat(name)
            await asyncio.sleep(BEAT_SECONDS)

    async with going_on(beat):
        log.info("worker ready")
        yield
    with suppress(RedisAwayError):
        await store.leave(name)
    log.info("worker stops")
