"""From which address a request comes.

The server has already looked behind the proxies that it trusts (`FORWARDED_ALLOW_IPS`); nobody else
reads `X-Forwarded-For`. What is left here is to see that it really is an address.
"""

import ipaddress
from functools import lru_cache

from starlette.types import Scope

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LONGEST = 64
"""Longer than any address; a proxy may pass on what a caller has made up."""


def client_address(scope: Scope) -> Address | None:
    """The caller's address; None by a Unix socket, or when a proxy said nonsense."""
    client = scope.get("client")
    if not client or len(client[0]) > _LONGEST:
        return None
    return _parse(client[0])


def client_network(scope: Scope) -> str | None:
    """Name the network that a caller commands: an IPv4 address, or the /64 of an IPv6 address."""
    address = client_address(scope)
    if address is None or address.version == 4:
        return None if address is None else str(address)
    return f"{int(address) >> 64:x}/64"


@lru_cache(maxsize=4096)
def _parse(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A server that listens on both kinds of addresses sees ::ffff:192.0.2.1 for 192.0.2.1.
    return getattr(address, "ipv4_mapped", None) or address
