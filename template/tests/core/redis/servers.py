"""Real Redis servers, for tests that leave them alone and for those that kill them."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from tests.core.ports import free_port

PATIENCE = 20


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis for all tests that leave it alone: TEST_REDIS_URL, or one of our own."""
    if given := os.environ.get("TEST_REDIS_URL"):
        yield given
        return
    with own_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


def redis_program() -> str:
    """Find Redis on the PATH; skip the test when there is none."""
    found = shutil.which("redis-server", path=f"{os.environ['PATH']}:/usr/sbin")
    if not found:
        pytest.skip("no redis-server program: install it, or set TEST_REDIS_URL")
    return found


@dataclass
class Server:
    """A Redis in memory; it may be killed and started again on the same port."""

    port: int
    directory: Path
    options: tuple[str, ...] = ()
    configuration: str = ""
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it; whoever asks waits until it answers."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *self.options]
        if self.configuration:
            options = [self.configuration, *options]
        self.process = subprocess.Popen(  # noqa: S603
            [redis_program(), *options],
            cwd=self.directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + PATIENCE
        while not self._answers():
            assert self.process.poll() is None, "Redis did not start"
            assert time.monotonic() < end, "Redis does not answer"
            time.sleep(0.01)

    def kill(self) -> None:
        """End it at once, as a machine does that loses its power."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def command(self, *words: str) -> str:
        """Tell it something, and give its answer as text."""
        with Redis(port=self.port) as redis:
            answer = redis.execute_command(*words)
        return answer.decode() if isinstance(answer, bytes) else str(answer)

    def _answers(self) -> bool:
        with Redis(port=self.port) as redis:
            try:
                return bool(redis.ping())
            except RedisError:
                return False


@contextmanager
def own_server(directory: Path, *options: str) -> Iterator[Server]:
    """Run a Redis of the test's own, which it may kill."""
    server = Server(free_port(), directory, options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def own_cluster(directory: Path) -> Iterator[Server]:
    """Run a cluster of one node, which the test may kill and start again."""
    options = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    with own_server(directory, *options) as server:
        server.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        end = time.monotonic() + PATIENCE
        while "cluster_state:ok" not in server.command("CLUSTER", "INFO"):
            assert time.monotonic() < end, "the cluster does not answer"
            time.sleep(0.01)
        yield server
