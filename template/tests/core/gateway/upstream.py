"""A real upstream on loopback: a web application, and a port that answers whatever is wanted."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
MEGABYTE = b"0123456789abcdef" * 65_536


@dataclass
class Upstream:
    """What runs in a thread of its own.

    Attributes:
        port: of the web application.
        raw_port: of the server whose answers are bytes.
        seen: the requests of the web application, the newest last.
        gone: set when a caller has left `/forever`.
        raw: how the other server answers.
        raw_heads: the headers that it has read.
        raw_connections: on so many connections.
    """

    port: int = 0
    raw_port: int = 0
    seen: list[dict[str, Any]] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)
    raw: bytes | None = b""
    raw_heads: list[bytes] = field(default_factory=list)
    raw_connections: int = 0


@contextmanager
def upstream_running() -> Iterator[Upstream]:
    """Run both servers until the block is left."""
    upstream, started = Upstream(), threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(_application(upstream), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        upstream.port = runner.addresses[0][1]
        server = await asyncio.start_server(_raw(upstream), "127.0.0.1", 0)
        upstream.raw_port = server.sockets[0].getsockname()[1]
        started.set()
        await stop.wait()
        server.close()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    started.wait(10)
    try:
        yield upstream
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


class Handlers:
    """What the web application answers."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream

    async def echo(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        seen = {
            "method": request.method,
            "target": request.raw_path,
            "headers": [[name, value] for name, value in request.headers.items()],
            "body": body.decode("latin-1"),
        }
        self.upstream.seen.append(seen)
        return web.json_response(seen)

    async def answer(self, request: web.Request) -> web.Response:
        response = web.Response(text="answer", status=int(request.query.get("status", "200")))
        response.headers.add("Set-Cookie", "a=1; HttpOnly")
        response.headers.add("Set-Cookie", "b=2; Secure")
        response.headers["Location"] = "http://elsewhere.example/"
        response.headers["Keep-Alive"] = "timeout=5"
        response.headers["Connection"] = "keep-alive, X-Of-This-Hop"
        response.headers["X-Of-This-Hop"] = "1"
        response.headers["X-Request-ID"] = "the-upstream-s"
        response.headers["X-Frame-Options"] = "SAMEORIGIN"
        return response

    async def download(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(8 * len(MEGABYTE))})
        await response.prepare(request)
        for _ in range(8):
            await response.write(MEGABYTE)
        return response

    async def upload(self, request: web.Request) -> web.Response:
        size = 0
        async for part in request.content.iter_any():
            size += len(part)
        return web.json_response({"size": size})

    async def back(self, request: web.Request) -> web.StreamResponse:
        """Answer each part of a body when it comes: full duplex."""
        response = web.StreamResponse()
        await response.prepare(request)
        async for part in request.content.iter_any():
            await response.write(part)
        return response

    async def forever(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            for number in range(1_000_000):
                await response.write(b"data: %d\n\n" % number)
                await asyncio.sleep(0.01)
        finally:
            self.upstream.gone.set()
        return response

    async def socket(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("refuse"):
            raise web.HTTPForbidden
        if request.query.get("redirect"):
            raise web.HTTPFound("http://127.0.0.1:9/")
        self.upstream.seen.append({"headers": [[n, v] for n, v in request.headers.items()]})
        talking = web.WebSocketResponse(protocols=["chat", "other"])
        talking.headers["Set-Cookie"] = "socket=1"
        await talking.prepare(request)
        async for message in talking:
            if message.type is WSMsgType.BINARY:
                await talking.send_bytes(message.data[::-1])
            elif message.data == "bye":
                await talking.close(code=4001, message=b"as you wish")
            elif message.data == "large":
                await talking.send_bytes(bytes(200_000))
            else:
                await talking.send_str(message.data.upper())
        self.upstream.seen.append({"close_code": talking.close_code})
        return talking


def _application(upstream: Upstream) -> web.Application:
    handlers = Handlers(upstream)
    application = web.Application(client_max_size=100_000_000)
    for path, handler in {
        "/answer": handlers.answer,
        "/download": handlers.download,
        "/upload": handlers.upload,
        "/back": handlers.back,
        "/forever": handlers.forever,
        "/socket": handlers.socket,
        "/{path:.*}": handlers.echo,
    }.items():
        application.router.add_route("*", path, handler)
    return application


def _raw(upstream: Upstream) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream.raw_connections += 1
        try:
            while True:
                upstream.raw_heads.append(await reader.readuntil(b"\r\n\r\n"))
                raw = upstream.raw  # the test may change it as soon as it has the answer
                if raw is None:
                    await reader.read()  # until the gateway hangs up
                    break
                writer.write(raw)
                await writer.drain()
                if not raw.endswith(b"kept"):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return answer
