#!/usr/bin/env python3
"""Ask the service of this container how it is: `python healthcheck.py /health`, or `--worker`.

Exits with 0 when the answer is 200, or when the worker has lately touched its file, and otherwise
with 1 and one line on standard error. It is the image's HEALTHCHECK, which therefore needs neither
curl nor a shell.
"""

from __future__ import annotations

import http.client
import os
import sys
import tempfile
import time
from pathlib import Path

TIMEOUT_SECONDS = 4.0
SILENT_SECONDS = 20.0
HEARTBEAT = "worker-heartbeat"
"""The file that is touched while a worker lives: see app/core/jobs/backends/life.py."""


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


def check_worker() -> None:
    """End the process with 1 and the reason when the worker has not touched its file lately."""
    try:
        # Only here: a container that may write nowhere has no directory for temporary files.
        silent = time.time() - Path(tempfile.gettempdir(), HEARTBEAT).stat().st_mtime
    except OSError as error:
        sys.exit(f"worker: {error}")
    if silent > SILENT_SECONDS:
        sys.exit(f"worker: no sign of life for {silent:.0f} s")


def main(path: str) -> None:
    """End the process with 0 when `path` answers 200, else with 1 and the reason."""
    try:
        status = status_of(path)
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"{path}: {error}")
    if status != http.HTTPStatus.OK:
        sys.exit(f"{path} answered {status}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--worker"]:
        check_worker()
    else:
        main(sys.argv[1] if len(sys.argv) > 1 else "/health")
