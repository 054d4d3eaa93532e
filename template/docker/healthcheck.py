#!/usr/bin/env python3
"""Ask the service of this container how it is: `python healthcheck.py /health`.

Exits with 0 when the answer is 200, and with 1 and one line on standard error when it is another
one or none. It is the image's HEALTHCHECK, which therefore needs neither curl nor a shell.
"""

from __future__ import annotations

import http.client
import os
import sys

TIMEOUT_SECONDS = 4.0


def status_of(path: str) -> int:
    """Return the HTTP status with which the service answers a GET of `path`.

    Raises:
        OSError: nobody answers in time.
        http.client.HTTPException: what answers does not speak HTTP.
    """
    port = int(os.environ.get("PORT", "8000"))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def main(path: str) -> None:
    """End the process with 0 when `path` answers 200, else with 1 and the reason."""
    try:
        status = status_of(path)
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"{path}: {error}")
    if status != http.HTTPStatus.OK:
        sys.exit(f"{path} answered {status}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "/health")
