"""Which header fields go through the gateway, and which it writes itself.

RFC 9110, 7.6: fields of one connection stay on it, among them those that `Connection` names. What
tells the upstream where a request comes from is never the caller's word.
"""

import re
from collections.abc import Iterable, Sequence

from multidict import CIMultiDict
from starlette.types import Scope

from app.core import context
from app.core.deadline import HEADER
from app.core.errors import BadRequestError, ExternalServiceError
from app.core.gateway.errors import HeadersTooLargeError
from app.core.traces.trace import traceparent

RawHeaders = Sequence[tuple[bytes, bytes]]

_VIA = "1.1 gateway"
_NOBODY = "unknown"
"""What X-Forwarded-For says of a caller without an address: nothing said would mean ourselves."""

_OF_ONE_CONNECTION = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer"),
        *(b"transfer-encoding", b"upgrade", b"http2-settings"),
        *(b"proxy-authenticate", b"proxy-authorization", b"proxy-authentication-info"),
    }
)
_NEVER_OF_ONE_CONNECTION = frozenset(
    {b"authorization", b"content-length", b"content-type", b"cookie", b"host", b"origin"}
)
"""What nobody may have taken away by naming it in `Connection`: the upstream would see another."""
_WRITTEN_HERE = frozenset(
    {
        *(b"host", b"expect", b"via", b"x-request-id", HEADER.lower().encode()),
        *(b"forwarded", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"true-client-ip"),
        *(b"cf-connecting-ip", b"fastly-client-ip", b"x-original-url", b"x-rewrite-url"),
        *(b"x-original-host", b"x-host", b"x-http-host-override"),
        *(b"client-cert", b"client-cert-chain", b"remote-user", b"x-remote-user"),
    }
)
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_HOST = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


def values(headers: RawHeaders, name: bytes) -> list[bytes]:
    """Every value of a field; names are in lower case."""
    return [value for other, value in headers if other.lower() == name]


def has_body(scope: Scope) -> bool:
    """Whether a body follows the header.

    Raises:
        BadRequestError: two readers could see its end at two places (RFC 9112, 6.3).
    """
    lengths = values(scope["headers"], b"content-length")
    codings = values(scope["headers"], b"transfer-encoding")
    if len(lengths) + len(codings) > 1 or any(not length.isdigit() for length in lengths):
        raise BadRequestError("Nobody can tell where this body ends")
    if codings and (codings[0].lower() != b"chunked" or scope.get("http_version") == "1.0"):
        raise BadRequestError("The only transfer coding is chunked, and only of HTTP/1.1")
    return bool(codings) or any(int(length) > 0 for length in lengths)


def for_upstream(scope: Scope, prefix: str, *, most_bytes: int) -> CIMultiDict[str]:
    """Give the header that an upstream gets.

    Args:
        scope: the request's.
        prefix: what the caller's path has, and the upstream's has not.
        most_bytes: how large the caller's may be.

    Raises:
        BadRequestError: a field can be read in more than one way.
        HeadersTooLargeError: together they are too large.
    """
    raw: RawHeaders = scope["headers"]
    if sum(len(name) + len(value) + 4 for name, value in raw) > most_bytes:
        raise HeadersTooLargeError(f"The headers may have at most {most_bytes} bytes")
    named = _named(raw)
    if named & _NEVER_OF_ONE_CONNECTION:
        raise BadRequestError("Connection names a field that is not the connection's")
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in raw:
        if not _stays(name.lower(), named):
            headers.add(name.decode(), _text(value))
    headers.update(_of_the_gateway(scope, prefix))
    return headers


def for_caller(raw: RawHeaders, status: int) -> list[tuple[bytes, bytes]]:
    """Give the header of an upstream's answer that the caller gets.

    Raises:
        ExternalServiceError: a field is none, so it might end the header and begin an answer.
    """
    if not all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in raw):
        raise ExternalServiceError("The service behind the gateway has sent a wrong header")
    # The server writes the date, the request pass writes the id.
    left_out = _OF_ONE_CONNECTION | _named(raw) | {b"date", b"x-request-id"}
    if status in (204, 304) or values(raw, b"transfer-encoding"):
        left_out |= {b"content-length"}
    return [(name.lower(), value) for name, value in raw if name.lower() not in left_out]


def _named(raw: RawHeaders) -> frozenset[bytes]:
    """The fields that `Connection` says are the connection's own."""
    return frozenset(
        name.strip().lower() for value in values(raw, b"connection") for name in value.split(b",")
    )


def _stays(name: bytes, named: Iterable[bytes]) -> bool:
    return (
        name in _OF_ONE_CONNECTION
        or name in _WRITTEN_HERE
        or name in named
        or name.startswith((b"x-forwarded-", b"sec-websocket-"))
        # Many servers take X_Forwarded_For for X-Forwarded-For.
        or b"_" in name
    )


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadRequestError("A header field is no text in UTF-8") from None


def _of_the_gateway(scope: Scope, prefix: str) -> dict[str, str]:
    own = {
        "X-Request-ID": context.request_id.get() or "",
        "X-Forwarded-For": context.client.get() or _NOBODY,
        "X-Forwarded-Proto": "https" if scope["scheme"] in ("https", "wss") else "http",
        "X-Forwarded-Prefix": prefix,
    }
    hosts = values(scope["headers"], b"host")
    if hosts:
        host = hosts[0].decode("latin-1")
        if len(hosts) > 1 or not _HOST.fullmatch(host):
            raise BadRequestError("Host must be one name")
        own["X-Forwarded-Host"] = host
    if trace := traceparent():
        own["traceparent"] = trace
    before = [_text(value) for value in values(scope["headers"], b"via")]
    own["Via"] = ", ".join([*before, _VIA])
    return own
