"""What the server is told, and how it ends."""

import asyncio
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from app.config import Settings
from app.core import server
from app.core.shutdown import Drain, left_of
from tests.core.plugin import with_changes


def test_the_settings_reach_the_server(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}

    def note(application: str, **options: Any) -> None:
        told.update(options, application=application)

    monkeypatch.setattr(uvicorn, "run", note)
    changes = {
        "host": "192.0.2.1",
        "port": 8123,
        "web_concurrency": 3,
        "forwarded_allow_ips": ("10.0.0.0/8",),
        "shutdown_grace_seconds": 17,
    }
    server.serve("app.main:app", with_changes(settings, **changes))
    expected = {
        "application": "app.main:app",
        "host": "192.0.2.1",
        "port": 8123,
        "workers": 3,
        "forwarded_allow_ips": ["10.0.0.0/8"],
        "timeout_graceful_shutdown": 17,
        "timeout_keep_alive": server.KEEP_ALIVE_SECONDS,
        "timeout_worker_healthcheck": server.HANGING_SECONDS,
        "ws_per_message_deflate": False,
        "ws_max_size": 1_048_576,
        "server_header": False,
        "access_log": False,
        "log_config": None,
    }
    assert told == expected


@pytest.fixture
def stopped() -> Iterator[list[int]]:
    """The signals that reached the server's own handler."""
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    yield seen
    signal.signal(signal.SIGTERM, before)
    Drain.ended_at = None


async def test_the_server_stops_after_the_drain(stopped: list[int]) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    drain = Drain(0.01)
    with drain.installed():
        assert left_of(60) == 60
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(10):
            while not stopped:  # noqa: ASYNC110 - nobody here is told
                await asyncio.sleep(0.01)
        assert (drain.draining, stopped) == (True, [signal.SIGTERM])
        assert left_of(60) < 60
        # Whoever asks once more is heard by the server, which then waits for nobody.
        assert signal.getsignal(signal.SIGTERM) == handler


async def test_who_has_stopped_leaves_the_signal_as_it_was(stopped: list[int]) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    with Drain(60).installed():
        assert signal.getsignal(signal.SIGTERM) != handler
    assert signal.getsignal(signal.SIGTERM) == handler
    assert stopped == []
