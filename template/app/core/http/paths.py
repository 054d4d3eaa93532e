"""Ways up in a path (`..`), as somebody on the way may read them."""

import re
from urllib.parse import unquote_to_bytes

DEEPEST = 3
"""How many times over a path may be encoded."""
_CUT_OFF = re.compile(rb"[;?#].*")


def climbs(path: bytes) -> bool:
    """Whether a path has dots for somebody, or is encoded more often than is sensible.

    Servers decode once too often, take a backslash for a slash, or cut off what follows `;`, `?`
    or `#` before they look for dots.
    """
    for _ in range(DEEPEST):
        parts = path.replace(b"\\", b"/").split(b"/")
        if any(_CUT_OFF.sub(b"", part) in (b".", b"..") for part in parts):
            return True
        decoded = unquote_to_bytes(path)
        if decoded == path:
            return False
        path = decoded
    return True
