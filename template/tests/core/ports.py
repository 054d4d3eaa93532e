"""Ports for servers of tests; this process gets none of them twice."""

import random
import socket
import sys
from contextlib import suppress

_CLAIMS: dict[int, socket.socket] = {}
"""What keeps each port for this process."""


def free_port() -> int:
    """Find a port that nobody uses at the moment.

    Not one of those that the system gives to connections: it may be given away until it is used.
    And none that was given before: what is remembered of an address, such as an issuer's keys,
    would be that of the server before.
    """
    while True:
        port = random.randrange(20_000, 26_000)  # noqa: S311
        with socket.socket() as probe, suppress(OSError):
            _claim(port)
            probe.bind(("127.0.0.1", port))
            return port


def _claim(port: int) -> None:
    """Keep a port from whoever looks for one, until this process ends.

    Raises:
        OSError: somebody has it.
    """
    if port in _CLAIMS:
        raise OSError(f"port {port} was given before")
    _CLAIMS[port] = claim = socket.socket(socket.AF_UNIX)
    if sys.platform == "linux":
        claim.bind(f"\0port-of-a-test-{port}")  # a name of Linux, which is gone with its process
