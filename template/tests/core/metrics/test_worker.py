"""What callers of a worker's `/metrics` can do to it."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx2
import pytest

from app.config import Settings
from app.core.metrics import worker
from tests.core.plugin import with_changes
from tests.core.ports import free_port

SOON = 20.0


@contextmanager
def listening(settings: Settings, **changes: object) -> Iterator[int]:
    """Give the port of a worker's figures."""
    port = free_port()
    given = with_changes(settings, host="127.0.0.1", metrics_port=port, **changes)
    around = worker.piece.around_worker
    assert around is not None
    with around(given):
        yield port


def calling(port: int) -> socket.socket:
    """Connect, and say nothing."""
    return socket.create_connection(("127.0.0.1", port), timeout=SOON)


def is_hung_up(caller: socket.socket) -> bool:
    try:
        return caller.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def test_it_does_not_tell_what_it_is_made_of(settings: Settings) -> None:
    with listening(settings) as port:
        answer = httpx2.get(f"http://127.0.0.1:{port}/metrics")
        assert answer.status_code == 200
        assert answer.headers["server"] == ""
        assert httpx2.get(f"http://127.0.0.1:{port}/").status_code == 404


def test_strangers_are_hung_up_on_unheard(settings: Settings) -> None:
    with (
        listening(settings, internal_networks=("10.0.0.0/8",)) as port,
        calling(port) as stranger,
    ):
        assert is_hung_up(stranger)


def test_the_silent_are_hung_up_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker._Handler.timeout is not None
    assert 0 < worker._Handler.timeout <= 10
    monkeypatch.setattr(worker._Handler, "timeout", 0.1)
    with listening(settings) as port, calling(port) as silent:
        assert is_hung_up(silent)


def test_no_more_are_served_at_once_than_a_few(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker._Handler, "timeout", 60)
    with listening(settings) as port:
        with ExitStack() as callers:
            few = [callers.enter_context(calling(port)) for _ in range(worker.MOST_AT_ONCE)]
            assert is_hung_up(callers.enter_context(calling(port)))
            few[0].settimeout(0.1)
            assert not is_hung_up(few[0])
        end = time.monotonic() + SOON
        while (status := asked(port)) != 200 and time.monotonic() < end:
            time.sleep(0.02)
        assert status == 200


def asked(port: int) -> int | None:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/metrics").status_code
    except httpx2.TransportError:
        return None
