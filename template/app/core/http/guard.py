"""Calls leave the service for the public network only, unless they are meant for another.

Whoever can choose a name, or answers for one in the DNS, could make a service call its neighbours
(server-side request forgery). So names are looked up here, each answer is checked, and the
connection goes to an address that was checked and to no other.
"""

import ipaddress
import socket
import ssl
from collections.abc import Iterable
from functools import cache
from time import monotonic
from typing import Any

import anyio
import httpcore2
from httpx2 import AsyncHTTPTransport, create_ssl_context

from app.core.http.errors import AddressRefusedError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_OWN_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
"""NAT64 as a network pleases (RFC 8215): nothing there is public, whatever its last bits say."""
_EMBEDDING = (ipaddress.IPv6Network("64:ff9b::/96"), _OWN_NAT64, ipaddress.IPv6Network("::/96"))
"""Their last 32 bits are an IPv4 address: NAT64 (RFC 6052), and what came before it (RFC 4291)."""
_NEVER_UPSTREAMS = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "fd20:ce::/32", "fd00:c1::/32"),
        *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.0/24"),
    )
)
"""Where clouds serve the credentials of a machine: not even for upstreams inside."""
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
"""What is given out (RFC 4291, 2.4); to `is_global`, site-local and translated ones are, too."""


class Guard:
    """Says which addresses one upstream may have.

    Args:
        upstream: its name.
        networks: that may be called besides public ones.
        private: the upstream is one of our own: private networks may be called.
    """

    def __init__(self, upstream: str, networks: Iterable[str] = (), *, private: bool) -> None:
        self.upstream = upstream
        self._networks = [ipaddress.ip_network(network) for network in networks]
        self._private = private

    def allows(self, address: str) -> bool:
        """Whether an address may be called."""
        given = ipaddress.ip_address(address.partition("%")[0])
        meant = _meant(given)
        if _within(meant, self._networks):
            return True
        if meant.is_multicast or meant.is_unspecified or _within(meant, _NEVER_UPSTREAMS):
            return False
        return self._private or (_is_public(meant) and not _within(given, [_OWN_NAT64]))

    async def look_up(self, host: str, port: int) -> list[str]:
        """Give the addresses of a host that may be called.

        Raises:
            AddressRefusedError: it has addresses, but none of these.
            OSError: it has none.
        """
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
        allowed = [address for address in addresses if self.allows(address)]
        if not allowed:
            raise AddressRefusedError(self.upstream)
        return allowed


def _is_public(address: Address) -> bool:
    return address.is_global and (address.version == 4 or address in _PUBLIC_V6)


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _meant(address: Address) -> Address:
    """The IPv4 address to which an IPv6 address leads, if it is of a kind that does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if _within(address, _EMBEDDING) and not (address.is_loopback or address.is_unspecified):
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)


class GuardedNetwork(httpcore2.AnyIOBackend):
    """Connects to the addresses that a guard allows."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2 calls it so
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to one of a host's addresses; `timeout` is for all of them together."""
        end = monotonic() + (timeout or 0.0)
        with anyio.move_on_after(timeout):
            addresses = await self._look_up(host, port)
            for left in range(len(addresses), 0, -1):
                # An address that swallows everything must leave time for the next one.
                share = None if timeout is None else max(end - monotonic(), 0.0) / left
                try:
                    return await super().connect_tcp(
                        addresses[-left], port, share, local_address, socket_options
                    )
                except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                    if left == 1:
                        raise
        raise httpcore2.ConnectTimeout

    async def connect_unix_socket(self, path: str, *_: Any, **__: Any) -> Any:
        """Refuse: a socket has no address that could be checked."""
        raise AddressRefusedError(self._guard.upstream)

    async def _look_up(self, host: str, port: int) -> list[str]:
        try:
            return await self._guard.look_up(host, port)
        except (OSError, UnicodeError) as error:  # the latter for what can be no name
            raise httpcore2.ConnectError(str(error)) from error


@cache
def tls() -> ssl.SSLContext:
    """The trusted certificates; reading them takes some 50 ms, so once, and in a thread."""
    return create_ssl_context()


class GuardedTransport(AsyncHTTPTransport):
    """httpx2's transport, which takes no network of one's own, with a guarded one."""

    def __init__(self, guard: Guard, tls_context: ssl.SSLContext, connections: int) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls_context,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=5.0,
            network_backend=GuardedNetwork(guard),
        )
