#!/usr/bin/env python3
"""Ask a running service for everything that it has: `python smoke.py http://127.0.0.1:8000`.

Health, readiness and its own description have to answer 200. Every operation of the description is
asked once, without a token and with an empty body: whatever it says, below 500 it is an answer.
Exits with 1 and a line for each that is not. Needs nothing but Python.
"""

from __future__ import annotations

import http.client
import json
import re
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 30.0
MUST_BE_200 = ("/health", "/ready", "/openapi.json")
METHODS = ("get", "put", "post", "delete", "patch")
ANY_ID = "00000000-0000-4000-8000-000000000000"


class Service:
    """The service that is asked.

    Args:
        address: where it is, http://HOST:PORT.
    """

    def __init__(self, address: str) -> None:
        self._host = urlsplit(address).netloc

    def ask(self, method: str, path: str) -> tuple[int, bytes]:
        """Give status and body of an answer.

        Raises:
            OSError: nobody answers in time.
            http.client.HTTPException: what answers does not speak HTTP.
        """
        connection = http.client.HTTPConnection(self._host, timeout=TIMEOUT_SECONDS)
        body = None if method == "GET" else "{}"
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def operations(description: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Give method and path of each operation, with an id that nothing has."""
    for path, methods in description["paths"].items():
        for method in METHODS:
            if method in methods:
                yield method.upper(), re.sub(r"\{[^}]*\}", ANY_ID, path)


def faults(service: Service) -> Iterator[str]:
    """Ask everything; a line for each answer that is none."""
    description = b""
    for path in MUST_BE_200:
        status, description = service.ask("GET", path)
        if status != http.HTTPStatus.OK:
            yield f"GET {path} answered {status}"
            return
    for method, path in operations(json.loads(description)):
        status, _ = service.ask(method, path)
        sys.stdout.write(f"{method} {path} {status}\n")
        if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            yield f"{method} {path} answered {status}"


def main(address: str) -> None:
    """End the process with 0 when every answer is one, else with 1 and the reasons."""
    url = urlsplit(address)
    if url.scheme != "http" or not url.netloc:
        sys.exit(f"{address}: must be an address such as http://127.0.0.1:8000")
    try:
        found = list(faults(Service(address)))
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"{address}: {error}")
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000")
