#!/usr/bin/env python3
"""Deploy a commit on Render, or return to what was live before, and wait for the end of it.

    deploy.py COMMIT         each service in turn, the one with the migrations first
    deploy.py --roll-back    each service to its last live deploy of another commit

Reads RENDER_API_KEY, RENDER_SERVICES (the services' ids, srv-… separated by commas) and, if set,
RENDER_API_URL. Exits with 1 and one line on standard error when a service does not become live;
those that come after it are then left alone. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

API_URL = "https://api.render.com/v1"
REQUEST_SECONDS = 30.0
POLL_SECONDS = 10.0
PATIENCE_SECONDS = 1800.0
RETRIES = 5
"""How often in a row the API may be away while a deploy is under way."""

LIVE = "live"
BEFORE = "deactivated"
"""The status of a deploy that was live until another one was."""
FAILED = frozenset({BEFORE, "build_failed", "update_failed", "pre_deploy_failed", "canceled"})


class Api:
    """Render's API, as far as it is needed here.

    Args:
        url: where it is.
        key: who we are.
    """

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._host = parts.netloc
        self._path = parts.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}

    def ask(self, method: str, path: str, body: dict[str, str] | None = None) -> Any:
        """Give the answer to one request, None when it has no body.

        Raises:
            OSError: nobody answers.
            HTTPException: the answer is no HTTP.
            SystemExit: the answer is an error, which is told.
        """
        connection = self._connect(self._host, timeout=REQUEST_SECONDS)
        try:
            sent = None if body is None else json.dumps(body)
            headers = self._headers | ({} if body is None else {"Content-Type": "application/json"})
            connection.request(method, self._path + path, sent, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 500:
            raise HTTPException(f"Render answered {answer.status}")
        if answer.status >= 300:
            sys.exit(f"{method} {path}: Render answered {answer.status} {text[:200].decode()}")
        return json.loads(text) if text else None


class Service:
    """One service on Render.

    Args:
        api: through which it is reached.
        name: its id, srv-…
        poll: seconds between two looks at a deploy.
    """

    def __init__(self, api: Api, name: str, poll: float) -> None:
        self.api = api
        self.name = name
        self.poll = poll
        self._path = f"/services/{name}"

    def deploy(self, commit: str) -> None:
        """Deploy a commit and wait until it is live."""
        self._start(f"{self._path}/deploys", {"commitId": commit})

    def roll_back(self) -> None:
        """Return to the last live deploy of another commit; where there is none, say so."""
        deploys = self._deploys()
        now = next((_commit(each) for each in deploys if each["status"] == LIVE), None)
        before = [each for each in deploys if each["status"] == BEFORE and _commit(each) != now]
        if not before:
            sys.exit(f"{self.name}: there is no earlier deploy to return to")
        self._start(f"{self._path}/rollback", {"deployId": before[0]["id"]})

    def _start(self, path: str, body: dict[str, str]) -> None:
        started = self.api.ask("POST", path, body)
        # A deploy that has to wait for another one is answered without its id.
        self._wait((started or self._deploys()[0])["id"])

    def _wait(self, deploy: str) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        seen, away = "", 0
        while seen != LIVE:
            if time.monotonic() > end:
                sys.exit(f"{self.name}: {deploy} is still {seen}")
            time.sleep(self.poll)
            try:
                status = self.api.ask("GET", f"{self._path}/deploys/{deploy}")["status"]
            except (OSError, HTTPException):
                away += 1
                if away > RETRIES:
                    raise
                continue
            away = 0
            if status != seen:
                seen = status
                sys.stdout.write(f"{self.name}: {deploy} is {seen}\n")
                sys.stdout.flush()
            if seen in FAILED:
                sys.exit(f"{self.name}: {deploy} is {seen}: see its log in the Dashboard")

    def _deploys(self) -> list[dict[str, Any]]:
        found = self.api.ask("GET", f"{self._path}/deploys?limit=50")
        return [entry["deploy"] for entry in found]


def _commit(deploy: dict[str, Any]) -> str | None:
    commit = deploy.get("commit") or {}
    return commit.get("id")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Deploy on Render, or roll back")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("commit", nargs="?", help="deploy this commit")
    what.add_argument("--roll-back", action="store_true", help="return to what was live before")
    parser.add_argument("--poll", type=float, default=POLL_SECONDS, help="seconds between looks")
    arguments = parser.parse_args()
    for name in ("RENDER_API_KEY", "RENDER_SERVICES"):
        if not os.environ.get(name):
            sys.exit(f"{name} is not set")
    api = Api(os.environ.get("RENDER_API_URL") or API_URL, os.environ["RENDER_API_KEY"])
    names = filter(None, (name.strip() for name in os.environ["RENDER_SERVICES"].split(",")))
    try:
        for name in names:
            service = Service(api, name, arguments.poll)
            if arguments.roll_back:
                service.roll_back()
            else:
                service.deploy(arguments.commit)
    except (OSError, HTTPException) as error:
        sys.exit(f"Render's API: {error}")


if __name__ == "__main__":
    main()
