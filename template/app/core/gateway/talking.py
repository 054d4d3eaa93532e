"""A WebSocket that goes through: a connection on each side, messages both ways."""

import asyncio
from urllib.parse import urlsplit

from aiohttp import ClientWebSocketResponse, WSMsgType
from fastapi import WebSocket
from starlette.websockets import WebSocketState

from app.core.errors import ForbiddenError
from app.core.gateway.callers import name_of, seconds_left
from app.core.gateway.headers import for_upstream
from app.core.gateway.settings import Upstream
from app.core.gateway.targets import target
from app.core.gateway.upstreams import Connected

_NORMAL, _SIGNED_OUT, _TOO_LARGE, _FAILED = 1000, 1008, 1009, 1011
_NEVER_SENT = {1005: _NORMAL, 1006: _FAILED, 1015: _FAILED}
"""Close codes that only say what happened here (RFC 6455, 7.4.1), and what is said instead."""


def check_origin(socket: WebSocket, origins: tuple[str, ...]) -> None:
    """Refuse pages of other sites: a browser opens WebSockets for anybody, with its cookies.

    Raises:
        ForbiddenError: the page is of another site, and not among `origins`.
    """
    origin = socket.headers.get("origin")
    if origin is None or "*" in origins or origin in origins:
        return
    if _site(origin) != socket.headers.get("host", "").lower():
        raise ForbiddenError("Pages of this origin may not open WebSockets here")


def _site(origin: str) -> str | None:
    """The host and port of a page, or None when it tells none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


async def talk(socket: WebSocket, upstream: Connected, prefix: str, *, most_bytes: int) -> None:
    """Open a WebSocket to the upstream, accept the caller's, and pass messages on.

    Raises:
        AppException: the upstream cannot be had; the caller's socket is not accepted.
        HTTPException: the upstream refuses.
    """
    where = target(socket.scope, prefix, hidden=upstream.upstream.hidden)
    headers = for_upstream(socket.scope, prefix, most_bytes=most_bytes)
    with upstream.sockets.one(name_of(socket.scope)):
        remote = await upstream.talking(where, headers, socket.scope["subprotocols"])
        async with remote:
            cookies = [
                (name, value)
                for name, value in remote._response.raw_headers
                if name.lower() == b"set-cookie"
            ]
            await socket.accept(subprotocol=remote.protocol, headers=cookies)
            await _pass_on(socket, remote, upstream.upstream)


async def _pass_on(socket: WebSocket, remote: ClientWebSocketResponse, upstream: Upstream) -> None:
    ways = [
        asyncio.create_task(_to_upstream(socket, remote, upstream.max_message_bytes)),
        asyncio.create_task(_to_caller(remote, socket)),
    ]
    try:
        ended, _ = await asyncio.wait(
            ways, timeout=seconds_left(upstream), return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
    if WebSocketState.CONNECTED is socket.application_state is socket.client_state:
        if ended:
            await socket.close(_FAILED)
        else:
            await socket.close(_SIGNED_OUT, "The token has expired")


async def _to_upstream(socket: WebSocket, remote: ClientWebSocketResponse, most_bytes: int) -> None:
    while (message := await socket.receive())["type"] != "websocket.disconnect":
        text: str | None = message.get("text")
        content: bytes = message["bytes"] if text is None else text.encode()
        if len(content) > most_bytes:
            await socket.close(_TOO_LARGE)
            break
        if text is None:
            await remote.send_bytes(content)
        else:
            await remote.send_str(text)
    code = message.get("code") or _TOO_LARGE
    await remote.close(code=_NEVER_SENT.get(code, code), message=_reason(message.get("reason")))


async def _to_caller(remote: ClientWebSocketResponse, socket: WebSocket) -> None:
    while True:
        message = await remote.receive()
        if message.type is WSMsgType.TEXT:
            await socket.send_text(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
        else:
            break
    if message.type is WSMsgType.CLOSE:
        await socket.close(message.data or _NORMAL, message.extra)
        return
    code = remote.close_code or _FAILED
    await socket.close(_NEVER_SENT.get(code, code))


def _reason(text: str | None) -> bytes:
    return (text or "").encode()
