"""What is measured while it runs: a rendered service, and the bare programs beside it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPConnection, HTTPException
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter, sleep
from typing import Any

import psutil

from benchmarks.load import CONNECTIONS, Job, Load, load
from tests.support.answers import Resolver
from tests.support.render import Renderer
from tests.support.runs import (
    database_server,
    free_port,
    new_databases,
    of_production,
    python,
    redis_server,
    token_issuer,
)
from tests.support.template import ROOT, Template

START_SECONDS = 120.0

SERVER_OPTIONS = ("--no-server-header", "--timeout-keep-alive", "75", "--log-level", "info")
"""Those of the service (app/core/server.py), for the programs that it is compared with."""


@contextmanager
def directory() -> Iterator[Path]:
    """A temporary directory in which a database server may run, as root too."""
    with TemporaryDirectory(prefix="groundwork-", ignore_cleanup_errors=True) as name:
        yield Path(name).resolve()


@cache
def _renderer() -> tuple[Renderer, Resolver]:
    template = Template()
    return Renderer(template), Resolver(template)


def rendered(target: Path, **answers: object) -> Path:
    """Render a service into a directory."""
    renderer, resolver = _renderer()
    return renderer.write(renderer.tree(resolver.resolve(answers)), target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """How to start something that serves.

    Attributes:
        command: with the port as the variable PORT, or in its place.
        place: the working directory.
        variables: all of the environment.
    """

    command: tuple[str, ...]
    place: Path
    variables: Mapping[str, str]

    @contextmanager
    def running(self) -> Iterator["Server"]:
        """Run it until the block is left; its output goes to a file."""
        port = free_port()
        with directory() as place, (place / "output").open("w+b") as output:
            process = subprocess.Popen(
                [part.format(port=port) for part in self.command],
                cwd=self.place,
                env={**self.variables, "PORT": str(port)},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                yield Server(port, process, place / "output")
            finally:
                _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            continue


@dataclass(frozen=True)
class Server:
    """A program that runs."""

    port: int
    process: "subprocess.Popen[Any]"
    output: Path = Path(os.devnull)
    begun: float = field(default_factory=perf_counter)

    def first_answer(self, path: str = "/health", seconds: float = START_SECONDS) -> float:
        """Wait for the first 200, and give the seconds since the start.

        Raises:
            RuntimeError: it did not come.
        """
        end = monotonic() + seconds
        while monotonic() < end and self.process.poll() is None:
            try:
                if self._status(path) == 200:
                    return perf_counter() - self.begun
            except (OSError, HTTPException):
                pass
            sleep(0.005)
        raise RuntimeError(f"{path} does not answer 200\n{self.output.read_text('utf-8')}")

    def get(self, path: str, token: str = "") -> bytes:
        """Read the body of a path."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request("GET", path, headers=headers)
        body = connection.getresponse().read()
        connection.close()
        return body

    def _status(self, path: str) -> int:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    @property
    def tree(self) -> list[psutil.Process]:
        """Its process and all below it."""
        process = psutil.Process(self.process.pid)
        return [process, *process.children(recursive=True)]

    @property
    def cpu(self) -> float:
        """Seconds of CPU that it has taken, in its own code and in the kernel.

        As the scheduler counts them: `/proc/PID/stat` knows hundredths of a second only.
        """
        threads = (Path(f"/proc/{each.pid}/task").glob("*/schedstat") for each in self.tree)
        return sum(int(file.read_text().split()[0]) for file in chain(*threads)) / 1e9

    @property
    def memory(self) -> tuple[float, float]:
        """RSS and PSS in MiB."""
        found = [process.memory_full_info() for process in self.tree]
        return sum(each.rss for each in found) / 2**20, sum(each.pss for each in found) / 2**20

    def asked(self, request: str, seconds: float, **options: int) -> "Asked":
        """Ask as often as it answers."""
        before = self.cpu
        done = load(Job(port=self.port, request=request, seconds=seconds, **options))
        return Asked(done, self.cpu - before)


@dataclass(frozen=True, slots=True)
class Asked:
    """What some requests have cost a server."""

    load: Load
    cpu: float

    @property
    def milliseconds(self) -> float:
        """Of CPU for each request."""
        return self.cpu / self.load.requests * 1000

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.load.requests / self.load.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """A service and what it is compared with, on one database; nothing runs yet.

    Attributes:
        service: everything on but the limit of requests.
        bare: the others by name.
        token: a caller's.
    """

    service: Program
    bare: Mapping[str, Program]
    token: str

    @property
    def all(self) -> Mapping[str, Program]:
        """All of them, the bare ones first."""
        return {**self.bare, "service": self.service}


FASTAPI = "bare FastAPI"
LOGGING = "FastAPI with uvicorn's log"
STARLETTE = "bare Starlette"


@contextmanager
def programs(**answers: object) -> Iterator[Programs]:
    """Make a service, its database and its issuer of tokens, and what it is compared with.

    Raises:
        LookupError: there is no Redis for a service that needs one.
    """
    with ExitStack() as stack:
        place = stack.enter_context(directory())
        service = rendered(place / "service", database="postgresql", **answers)
        issuer = stack.enter_context(token_issuer(service))
        server = stack.enter_context(database_server(service, place / "data"))
        addresses = new_databases(service, server)
        python(service, "-m", "app.core.migrate", **addresses)
        more = {}
        if (service / "app/core/redis").exists():
            more["REDIS_URL"] = f"redis://127.0.0.1:{stack.enter_context(redis_server())}"
        variables = of_production(
            DB_POOL_SIZE=str(CONNECTIONS),
            PYTHONDONTWRITEBYTECODE="",
            **more,
            **addresses,
            **issuer.variables,
        )
        yield Programs(
            service=Program(
                command=(sys.executable, "-m", "app"), place=service, variables=variables
            ),
            bare={
                STARLETTE: _bare("with_starlette", variables, "--no-access-log"),
                FASTAPI: _bare("with_fastapi", variables, "--no-access-log"),
                LOGGING: _bare("with_fastapi", variables),
            },
            token=issuer.token,
        )


@contextmanager
def interpreter(service: Path, *more: str) -> Iterator[str]:
    """Make an environment with what a service declares, in the versions that are installed here.

    Args:
        service: where its `pyproject.toml` is.
        more: what else is needed.
    """
    uv = (sys.executable, "-m", "uv", "--quiet")
    with directory() as place:
        here, made = place / "installed", str(place / "environment/bin/python")
        freeze = (*uv, "pip", "freeze", "--exclude-editable", "--python", sys.executable)
        here.write_bytes(subprocess.run(freeze, check=True, capture_output=True).stdout)
        subprocess.run((*uv, "venv", "--python", sys.executable, place / "environment"), check=True)
        install = (*uv, "pip", "install", "--python", made, "--constraint", str(here))
        subprocess.run((*install, "-r", str(service / "pyproject.toml"), *more), check=True)
        yield made


def _bare(module: str, variables: Mapping[str, str], *options: str) -> Program:
    application = f"benchmarks.bare.{module}:app"
    command = [sys.executable, "-m", "uvicorn", application, "--port", "{port}"]
    return Program(command=(*command, *SERVER_OPTIONS, *options), place=ROOT, variables=variables)
