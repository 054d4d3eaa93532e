"""Running what was rendered: commands in a service's directory, and its server over HTTP."""

import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile

import httpx2

from tests.support.template import ROOT

START_SECONDS = 300
STOP_SECONDS = 300
COMMAND_SECONDS = 1800

_CLAIMS: list[socket.socket] = []
"""What keeps ports for this process."""

NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For calls without TLS: reading the trusted certificates would take longer than the call."""

KEPT = (
    *("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TMPDIR", "USER"),
    *("SSL_CERT_DIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT"),
    *("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy"),
    *("PIP_CONFIG_FILE", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_INDEX_URL"),
    *("UV_CACHE_DIR", "UV_CONFIG_FILE", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL"),
    *("XDG_CACHE_HOME", "XDG_CONFIG_HOME"),
)
"""What of the environment a service may see: nothing that could answer a setting of its own."""

KEEP_SERVER = """
import sys
from pathlib import Path
from app.core.development.flavour import local_server
with local_server(Path(sys.argv[1]), durable=False) as address:
    print(address, flush=True)
    sys.stdin.read()
"""
CREATE_DATABASES = """
import asyncio, json, sys
from app.core.database.layout import DATABASES
from app.core.database.roles.role import development_addresses
from app.core.development.flavour import create_database
server, prefix = sys.argv[1:]
made = {}
for each in DATABASES:
    address = asyncio.run(create_database(server, f"{prefix}_{each.section}"))
    made |= development_addresses(each.variable, address)
print(json.dumps({name.upper(): address for name, address in made.items()}))
"""


def vault_program() -> str | None:
    """Find Vault: VAULT_BINARY, on the PATH, or what `.ci/vault/build` has left in the cache."""
    if given := os.environ.get("VAULT_BINARY") or shutil.which("vault"):
        return given
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    cache = Path(os.environ.get("CI_CACHE_DIR") or Path(home, "groundwork"))
    built = cache / "vault" / _vault_version() / "vault"
    return str(built) if built.is_file() else None


def _vault_version() -> str:
    wanted = (ROOT / ".ci/vault/go.mod").read_text("utf-8")
    [version] = re.findall(r"hashicorp/vault v(\S+)", wanted)
    return str(version)


def environment(**variables: str) -> dict[str, str]:
    """Give a clean environment with some variables of one's own."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    if program := vault_program():
        kept["VAULT_BINARY"] = program  # the tests of a service look for it; no setting of its own
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **variables}


def own_packages() -> str:
    """Name the directory of the packages that only some services have."""
    return os.environ.get("ARQ_PACKAGES") or str(Path(sys.prefix, "arq"))


def of_production(**variables: str) -> dict[str, str]:
    """Give the environment of a service in production that is asked from this machine alone."""
    return environment(
        ENVIRONMENT="production",
        ALLOWED_HOSTS="127.0.0.1",
        SECRET_KEY=secrets.token_hex(32),
        SHUTDOWN_DRAIN_SECONDS="0",
        RATE_LIMIT_DEFAULT="off",
        **variables,
    )


def with_own_packages(directory: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """Add the packages that only some services have: arq, and the redis-py that it holds.

    They stand in a directory of their own (`requirements-arq.txt`), before all others.
    """
    if not (directory / "app/core/jobs/backends/arq.py").exists():
        return dict(variables)
    return {**variables, "PYTHONPATH": own_packages()}


def with_own_programs(directory: Path) -> Path:
    """Give a service the packages of these tests in the place of its `.venv`, for its Makefile."""
    programs = directory / ".venv/bin"
    programs.mkdir(parents=True)
    for name, arguments in {"python": "", "ruff": "-m ruff", "uv": "-m uv"}.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n', "utf-8")
        program.chmod(stat.S_IRWXU)
    (directory / ".venv/.ready").touch()
    return directory


def redis_program() -> str | None:
    """Find Redis, or what goes by its name."""
    return shutil.which("redis-server", path=f"{os.environ['PATH']}:/usr/sbin")


def mariadb_program() -> str | None:
    """Find MariaDB's server."""
    return shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")


@contextmanager
def redis_server() -> Iterator[int]:
    """Run a Redis in memory and give its port.

    Raises:
        LookupError: there is no `redis-server` program.
    """
    port = free_port()
    process = start_redis(port)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def start_redis(port: int) -> "subprocess.Popen[bytes]":
    """Start a Redis in memory, and wait until it listens.

    Raises:
        LookupError: there is no `redis-server` program.
    """
    program = redis_program()
    if program is None:
        raise LookupError("no redis-server program: install redis-server")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", "/"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for_port(port, process)
    except AssertionError:
        process.kill()
        process.wait()
        raise
    return process


def _wait_for_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, "the server did not start"
            assert time.monotonic() < end, "the server does not listen"
            time.sleep(0.02)
        else:
            return


def python(directory: Path, *arguments: str, **variables: str) -> str:
    """Run this interpreter in a service's directory and give what it prints.

    Raises:
        AssertionError: the command failed; with all that it said.
    """
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env=with_own_packages(directory, environment(**variables)),
        check=False,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
    )
    assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def database_server(directory: Path, data: Path) -> Iterator[str]:
    """Run the database server that a service brings along for development and tests.

    Args:
        directory: a rendered service.
        data: where the server keeps its files.

    Yields:
        The address of an account that may create databases.
    """
    with _kept([sys.executable, "-c", KEEP_SERVER, str(data)], directory) as address:
        yield address


@contextmanager
def _kept(command: list[str], directory: Path) -> Iterator[str]:
    """Run something that says one line when it is there, and ends with its standard input.

    Raises:
        AssertionError: it says none; with its errors.
    """
    with TemporaryFile("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=with_own_packages(directory, environment()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        assert process.stdin
        assert process.stdout
        try:
            line = process.stdout.readline().strip()
            if not line:
                status = process.wait()
                errors.seek(0)
                raise AssertionError(f"{command[:3]} ended with {status}\n{errors.read()}")
            yield line
        finally:
            process.stdin.close()
            process.wait(STOP_SECONDS)
            process.stdout.close()


@dataclass(frozen=True)
class Issuer:
    """Who issues the tokens of a service.

    Attributes:
        variables: the environment with which the service believes it.
        token: an administrator's; empty where nobody signs in.
        other_token: of somebody else, in another tenant.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    token: str = ""
    other_token: str = ""


@contextmanager
def token_issuer(directory: Path) -> Iterator[Issuer]:
    """Run the issuer that a service brings along for its tests, if callers sign in at all.

    Args:
        directory: a rendered service.
    """
    if not (directory / "tests/core/issuing/__main__.py").exists():
        yield Issuer()
        return
    with _kept([sys.executable, "-m", "tests.core.issuing"], directory) as line:
        yield Issuer(**json.loads(line))


def new_databases(directory: Path, server: str) -> dict[str, str]:
    """Make the empty databases of a service by its own means.

    Returns:
        Their addresses by the name of the variable that each is the value of.
    """
    prefix = f"run_{secrets.token_hex(6)}"
    addresses: dict[str, str] = json.loads(
        python(directory, "-c", CREATE_DATABASES, server, prefix)
    )
    return addresses


def free_port() -> int:
    """Find a port on which nobody listens.

    Not one of those that the system gives to connections, or that containers are given: it may be
    given away until it is used.
    """
    while True:
        port = random.randrange(20_000, 26_000)  # noqa: S311
        with socket.socket() as probe, suppress(OSError):
            claim_port(port)
            probe.bind(("127.0.0.1", port))
            return port


def claim_port(port: int) -> None:
    """Keep a port from other processes that look for one, until this one ends.

    Raises:
        OSError: another one has it.
    """
    claim = socket.socket(socket.AF_UNIX)
    _CLAIMS.append(claim)
    if sys.platform == "linux":
        claim.bind(f"\0port-of-a-test-{port}")  # a name of Linux, which is gone with its process


@dataclass
class Running:
    """A server process that answers over HTTP.

    Attributes:
        url: without a slash at the end.
        output: what it has written, line by line.
    """

    url: str
    process: "subprocess.Popen[str]"
    output: list[str] = field(default_factory=list)
    _reader: threading.Thread | None = None

    def get(self, path: str, token: str = "", seconds: float = 60) -> httpx2.Response:
        """Ask for a path, signed in with a token if there is one."""
        return httpx2.get(
            f"{self.url}{path}", headers=_signed_in(token), timeout=seconds, verify=NO_CERTIFICATES
        )

    def post(self, path: str, body: Mapping[str, object], token: str = "") -> httpx2.Response:
        """Send a JSON body, signed in with a token if there is one."""
        return httpx2.post(f"{self.url}{path}", json=body, headers=_signed_in(token), timeout=60)

    def wait_until(self, path: str, seconds: float = START_SECONDS) -> None:
        """Wait until a path answers 200.

        Raises:
            AssertionError: the process ended, or did not answer in time.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            with suppress(httpx2.TransportError):
                if self.get(path, seconds=10).status_code == 200:
                    return
            time.sleep(0.1)
        raise AssertionError("\n".join([f"{path} does not answer 200", *self.output]))

    def wait_until_all_are_up(self, names: Collection[str]) -> None:
        """Wait until the service is ready and some components are up: a busy machine may be slow.

        Raises:
            AssertionError: they were not in time.
        """
        end = time.monotonic() + START_SECONDS
        while True:
            self.wait_until("/ready")
            ready = self.get("/ready").json()
            states = {name: component["status"] for name, component in ready["components"].items()}
            if ready["status"] == "ready" and all(states[name] == "up" for name in names):
                return
            assert time.monotonic() < end, ready
            time.sleep(0.2)

    def stop(self, number: signal.Signals, *, group: bool = False) -> int:
        """Send a signal to the process, or as a terminal does to its group, and wait.

        Returns:
            The exit status; negative when a signal ended it.
        """
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end and for the last of its output."""
        status = self.process.wait(STOP_SECONDS)
        if self._reader:
            self._reader.join()
        return status


@contextmanager
def running(
    command: list[str], directory: Path, port: int, variables: Mapping[str, str]
) -> Iterator[Running]:
    """Run a server in a process group of its own, which is gone when the block is left."""
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=with_own_packages(directory, variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    server = Running(f"http://127.0.0.1:{port}", process)
    server._reader = threading.Thread(target=_collect, args=[server], daemon=True)
    server._reader.start()
    try:
        yield server
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _signed_in(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _collect(server: Running) -> None:
    assert server.process.stdout
    with server.process.stdout as lines:
        server.output.extend(line.rstrip("\n") for line in lines)
