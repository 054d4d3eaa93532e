"""Another service on loopback: a real server that does what a test wants, also what none should."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.core.ports import free_port


@dataclass(frozen=True)
class Received:
    """A request as it came; names of headers in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


Reaction = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


def answering(
    status: int = 200, body: bytes = b"{}", headers: Mapping[str, str] | None = None
) -> Reaction:
    """Answer as a server should."""
    lines = [f"HTTP/1.1 {status} Said"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines += [f"Content-Length: {len(body)}", "", ""]

    async def react(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()

    return react


def redirecting(location: str, status: int = 302) -> Reaction:
    """Send the caller elsewhere."""
    return answering(status, headers={"Location": location})


async def hanging(_: Received, __: asyncio.StreamWriter) -> None:
    """Accept, and never answer."""
    await asyncio.Event().wait()


async def dripping(_: Received, writer: asyncio.StreamWriter) -> None:
    """Answer a little every moment, and never to the end."""
    writer.write(b"HTTP/1.1 200 Said\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.01)


async def resetting(_: Received, writer: asyncio.StreamWriter) -> None:
    """Break the connection off."""
    writer.transport.abort()


async def babbling(_: Received, writer: asyncio.StreamWriter) -> None:
    """Answer what is no HTTP."""
    writer.write(b"\x16\x03\x01 what?\r\n\r\n")
    await writer.drain()


@dataclass
class Neighbour:
    """The server.

    Attributes:
        host, port: on loopback.
        reaction: what it does about each request.
        received: all requests up to now.
        waiting: requests that are not answered yet.
    """

    host: str
    port: int
    reaction: Reaction = field(default_factory=answering)
    received: list[Received] = field(default_factory=list)
    waiting: int = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{self.host}:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """React to each request of a connection."""
        try:
            while request := await _receive(reader):
                self.received.append(request)
                self.waiting += 1
                try:
                    await self.reaction(request, writer)
                finally:
                    self.waiting -= 1
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


async def _receive(reader: asyncio.StreamReader) -> Received | None:
    line = await reader.readline()
    if not line:
        return None
    method, target, _ = line.decode().split()
    headers: dict[str, str] = {}
    while (line := await reader.readline()).strip():
        name, _, value = line.decode().partition(":")
        headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, target, headers, body)


@asynccontextmanager
async def neighbour(host: str = "127.0.0.1", port: int | None = None) -> AsyncIterator[Neighbour]:
    """Run one until the block is left."""
    running = Neighbour(host, free_port() if port is None else port)
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(running.serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, host, running.port)
    try:
        yield running
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
