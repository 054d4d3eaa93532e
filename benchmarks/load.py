"""Asks a server as fast as it answers, in a process of its own: `python -m benchmarks.load`.

Reads what to do as JSON from standard input and writes what came of it to standard output.
"""

import asyncio
import json
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from uuid import uuid4

import uvloop

UNIQUE = "u" * 32
"""In a request: replaced by something else each time."""

CONNECTIONS = 16
MOST = 1_000_000
_PART = 65_536
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to ask, and for how long.

    Attributes:
        port: of a server on loopback.
        request: all of it, as it goes over the wire.
        seconds: how long.
        connections: how many ask at the same time.
        most: enough requests, however much time is left.
    """

    port: int
    request: str
    seconds: float
    connections: int = CONNECTIONS
    most: int = MOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What came of it.

    Attributes:
        requests: how many were answered, each by a 2xx.
        size: bytes of their bodies.
        seconds: how long it took.
    """

    requests: int
    size: int
    seconds: float


def request(path: str, token: str = "", body: str = "") -> str:
    """Write a request: a POST when it has a body."""
    lines = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", body])


def load(job: Job) -> Load:
    """Do a job in a process of its own, so that it costs the server nothing.

    Raises:
        RuntimeError: the server did not answer, or not by a 2xx.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        cwd=Path(__file__).parent.parent,
        input=json.dumps(asdict(job)),
        check=False,
        capture_output=True,
        text=True,
        timeout=job.seconds + 120,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return Load(**json.loads(done.stdout))


class _Asking:
    """The connections of one job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._request = job.request.encode()
        self._unique = UNIQUE.encode()
        self._begun = self._requests = self._size = 0
        self._end = 0.0

    async def run(self) -> Load:
        started = perf_counter()
        self._end = started + self._job.seconds
        await asyncio.gather(*(self._ask() for _ in range(self._job.connections)))
        seconds = perf_counter() - started
        return Load(requests=self._requests, size=self._size, seconds=seconds)

    async def _ask(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._job.port)
        while self._begun < self._job.most:
            # One each, however late a busy machine lets this begin.
            self._begun += 1
            writer.write(self._request.replace(self._unique, uuid4().hex.encode()))
            await self._answer(reader)
            if perf_counter() >= self._end:
                break
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 2") or length is None:
            raise RuntimeError(f"{self._job.request!r} was answered by {head!r}")
        left = int(length[1])
        self._size += left
        while left:
            part = await reader.read(min(left, _PART))
            if not part:
                raise RuntimeError(f"{self._job.request!r} was answered in part")
            left -= len(part)
        self._requests += 1


def main() -> None:
    """Do the job that standard input describes."""
    asking = _Asking(Job(**json.load(sys.stdin)))
    json.dump(asdict(uvloop.run(asking.run())), sys.stdout)


if __name__ == "__main__":
    main()
