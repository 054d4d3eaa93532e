"""A new release of a service, while callers go on asking: processes on loopback, no containers.

A proxy that asks `/ready` stands before three replicas, as an ingress or a load balancer does.
"""

import asyncio
import itertools
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import httpx2
import psutil
import pytest

from tests.support.answers import Resolver
from tests.support.figures import Figure
from tests.support.render import Renderer
from tests.support.runs import (
    Running,
    database_server,
    environment,
    free_port,
    new_databases,
    python,
    running,
)
from tests.support.template import Template

ANSWERS = {"database": "postgresql", "auth": "none", "redis": False}
PROJECTS = "/api/v1/projects"
REQUESTS = 5000
CALLERS = 8
PATIENCE = 300.0
PATIENCE_OF_UVICORN = 5.0
"""Seconds after which it replaces a process that says nothing, unless it is told otherwise."""

LONGEST = 300.0
"""Seconds that a roll-out may take, on a busy machine."""

CONFIGURATION = """
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    timeout check 5s
    default-server check inter 100ms fall 1 rise 1

frontend all
    bind 127.0.0.1:{port}
    default_backend replicas
    acl few nbsrv(replicas) lt 3
    monitor-uri /all-there
    monitor fail if few

backend replicas
    option httpchk GET /ready
    http-check expect status 200
"""


@pytest.fixture(scope="module")
def service() -> Iterator[Path]:
    """A rendered service."""
    # Not below pytest's own directory: PostgreSQL runs as another user when we are root.
    with TemporaryDirectory(prefix="groundwork-") as place:
        renderer = Renderer(Template())
        tree = renderer.tree(Resolver(renderer.template).resolve(ANSWERS))
        yield renderer.write(tree, Path(place, "service"))


@pytest.fixture(scope="module")
def server(service: Path) -> Iterator[str]:
    """A PostgreSQL server."""
    with database_server(service, service.with_name("data")) as address:
        yield address


@pytest.fixture
def variables(service: Path, server: str) -> dict[str, str]:
    """The environment of a replica, with an empty database."""
    return {
        **new_databases(service, server),
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "WARNING",
        "DB_POOL_SIZE": "4",
        "RATE_LIMIT_DEFAULT": "",
        "SHUTDOWN_DRAIN_SECONDS": "3",
    }


@contextmanager
def replica(service: Path, port: int, variables: Mapping[str, str]) -> Iterator[Running]:
    """Run the production server."""
    given = environment(**variables, HOST="127.0.0.1", PORT=str(port))
    with running([sys.executable, "-m", "app"], service, port, given) as server:
        yield server


@contextmanager
def proxy(ports: list[int], directory: Path) -> Iterator[str]:
    """Run HAProxy before some ports and give its address."""
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("no HAProxy: install haproxy")
    port = free_port()
    file = directory / "haproxy.cfg"
    servers = (f"    server replica{each} 127.0.0.1:{each}\n" for each in ports)
    file.write_text(CONFIGURATION.format(port=port) + "".join(servers), "utf-8")
    process = subprocess.Popen([program, "-db", "-q", "-f", str(file)])
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def test_no_request_fails_while_replicas_are_replaced(
    service: Path, variables: dict[str, str], tmp_path: Path, figure: Figure
) -> None:
    python(service, "-m", "app.core.migrate", **variables)
    ports = [free_port() for _ in range(3)]
    with ExitStack() as replicas, proxy(ports, tmp_path) as url:
        servers = [replicas.enter_context(replica(service, port, variables)) for port in ports]
        for server in servers:
            server.wait_until("/ready")
        wait_until_all_are_there(url)

        def replace_all() -> None:
            for server in servers:
                port = int(server.url.rpartition(":")[2])
                assert server.stop(signal.SIGTERM) in {0, -signal.SIGTERM}, server.output
                replicas.enter_context(replica(service, port, variables)).wait_until("/ready")
                # The proxy must have seen this one before it loses the next.
                wait_until_all_are_there(url)

        answers, seconds = asyncio.run(under_load(url, replace_all))
    figure(f"answers while three replicas are replaced: {dict(answers)} in {seconds:.0f} s")
    assert answers.keys() == {200, 201}
    assert answers.total() >= REQUESTS
    assert min(answers.values()) > REQUESTS / 10


def wait_until_all_are_there(url: str) -> None:
    """Wait until the proxy, which looks every 100 ms, has found all replicas ready."""
    end = time.monotonic() + PATIENCE
    while not _all_are_there(url):
        assert time.monotonic() < end, "the proxy does not find all replicas"
        time.sleep(0.05)


def _all_are_there(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/all-there", timeout=10).status_code == 200
    except httpx2.TransportError:
        return False  # it does not listen yet


async def under_load(url: str, action: Callable[[], None]) -> tuple[Counter[object], float]:
    """Send requests from several callers until an action is done and enough have been sent.

    Returns:
        How often each status was the answer, or what went wrong instead; and the seconds taken.
    """
    answers: Counter[object] = Counter()
    begun = time.monotonic()
    done = asyncio.get_running_loop().run_in_executor(None, action)

    async def call(session: aiohttp.ClientSession) -> None:
        for number in itertools.count():
            if done.done() and answers.total() >= REQUESTS:
                return
            body = None if number % 4 else {"name": f"Project {number}"}
            try:
                method = "POST" if body else "GET"
                async with session.request(method, f"{url}{PROJECTS}", json=body) as answer:
                    await answer.read()
                    answers[answer.status] += 1
            except aiohttp.ClientError as error:
                answers[repr(error)] += 1

    async with asyncio.timeout(LONGEST), aiohttp.ClientSession() as session:
        await asyncio.gather(*(call(session) for _ in range(CALLERS)))
        await done
    return answers, time.monotonic() - begun


def test_a_process_that_is_slow_is_not_replaced(service: Path, variables: dict[str, str]) -> None:
    """As one is that starts on a small machine: its replacement would be slow too, for ever."""
    python(service, "-m", "app.core.migrate", **variables)
    several = {**variables, "WEB_CONCURRENCY": "2"}
    with replica(service, free_port(), several) as server:
        server.wait_until("/ready")
        processes = psutil.Process(server.process.pid).children()
        slow = processes[-1]
        slow.suspend()
        time.sleep(2 * PATIENCE_OF_UVICORN)
        slow.resume()
        assert psutil.Process(server.process.pid).children() == processes
        server.wait_until("/ready")


def test_replicas_that_start_with_the_migrations_wait_for_one_of_them(
    service: Path, variables: dict[str, str]
) -> None:
    ports = [free_port() for _ in range(5)]
    with ExitStack() as replicas, ThreadPoolExecutor() as others:
        servers = [replicas.enter_context(replica(service, port, variables)) for port in ports]
        for server in servers:
            server.wait_until("/health")
            assert server.get("/ready").status_code == 503
        migrators = [
            others.submit(migrate, service, {**variables, "LOG_LEVEL": "INFO"}) for _ in servers
        ]
        upgrades = [migrator.result() for migrator in migrators]
        for server in servers:
            server.wait_until("/ready")
    assert sorted(upgrades)[:-1] == [0, 0, 0, 0]
    assert max(upgrades) == len(list((service / "migrations/versions").glob("*.py")))


def migrate(service: Path, variables: Mapping[str, str]) -> int:
    """Run the migration step and count what it has applied."""
    done = subprocess.run(
        [sys.executable, "-m", "app.core.migrate"],
        cwd=service,
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.count("Running upgrade")
