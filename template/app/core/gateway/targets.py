"""Where a request goes: only what cannot be read in two ways is passed on.

An upstream may decode a path once more than the gateway, take a backslash for a slash or resolve
dots before it asks who may read what. So nothing is repaired here; what is ambiguous is refused.
The host is the table's, never the caller's.
"""

import re
from collections.abc import Collection
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from app.core.errors import BadRequestError, NotFoundError
from app.core.gateway.errors import TargetTooLongError
from app.core.http.paths import DEEPEST, climbs

LONGEST_TARGET = 8000
"""What every recipient should support (RFC 9110, 4.1)."""

# RFC 3986, 3.3, without what it encodes.
_PATH = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*")
# Clients send more than RFC 3986 allows here, such as filter[name]=x; no blanks and no controls.
_QUERY = re.compile(rb"[\x21\x22\x24-\x7e]*")
_AMBIGUOUS = re.compile(rb"[\x00-\x1f\x7f\\]")
_CUT_OFF = re.compile(r"[;?#][^/]*")
_SLASHES = re.compile("/+")


def target(scope: Scope, prefix: str, *, hidden: Collection[str]) -> str:
    """Give the path and the query that an upstream is asked for, as the caller has encoded them.

    Args:
        scope: the request's.
        prefix: what the path begins with, and the upstream's path does not.
        hidden: the paths that nobody is led to, nor to what is below them.

    Raises:
        BadRequestError: somebody might read it in another way.
        NotFoundError: the path is hidden.
        TargetTooLongError: nobody needs to read that much.
    """
    raw: bytes = scope.get("raw_path") or b""
    query: bytes = scope.get("query_string", b"")
    if len(raw) + len(query) > LONGEST_TARGET:
        raise TargetTooLongError(f"Path and query may have at most {LONGEST_TARGET} bytes")
    rest = raw.removeprefix(prefix.encode())
    if rest == raw or not _is_plain(rest) or not _QUERY.fullmatch(query):
        raise BadRequestError("The path or the query can be read in more than one way")
    if _is_hidden(rest, hidden):
        raise NotFoundError("The gateway does not lead there")
    path = rest.decode() or "/"
    return f"{path}?{query.decode()}" if query else path


def _is_plain(path: bytes) -> bool:
    if not _PATH.fullmatch(path) or (path and not path.startswith(b"/")) or climbs(path):
        return False
    segments = path.count(b"/")
    for _ in range(DEEPEST):
        if b"//" in path or path.count(b"/") != segments or _AMBIGUOUS.search(path):
            return False
        decoded = unquote_to_bytes(path)
        if decoded == path:
            return _is_text(path)
        path = decoded
    return False


def _is_hidden(path: bytes, hidden: Collection[str]) -> bool:
    """Whether a plain path leads there for somebody, who may decode it as often as he likes."""
    for _ in range(DEEPEST):
        path = unquote_to_bytes(path)
    read = _SLASHES.sub("/", _CUT_OFF.sub("", path.decode())).lower() + "/"
    return any(read.startswith(f"{each.lower()}/") for each in hidden)


def _is_text(path: bytes) -> bool:
    """Whether it is UTF-8; what is not, old decoders take for dots and slashes (%c0%ae, %c0%af)."""
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True
