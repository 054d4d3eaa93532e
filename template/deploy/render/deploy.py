#!/usr/bin/env python3
"""Deploy a commit on Render, or return to what was live before, and wait for the end of it.

    deploy.py COMMIT                  each service in turn, the one with the migrations first
    deploy.py --roll-back [COMMIT]    all services to one commit that was live, without a build

Without a COMMIT they return to the last one before that was live on every service; where they are
on different ones, since a deploy ended halfway, to the older of these. Where one of them is rolled
back already, the others return to its commit: run again, a roll-back that ended halfway goes on,
and one that is done changes nothing.

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
from itertools import takewhile
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
ROLL_BACK = "rollback"
"""What started a deploy that returns to an earlier one."""

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

    def been_live(self) -> list[dict[str, Any]]:
        """Give its deploys that are live or were, the newest first."""
        deploys = self._deploys()
        return [each for each in deploys if each["status"] in {LIVE, BEFORE} and _commit(each)]

    def return_to(self, deploy: dict[str, Any]) -> None:
        """Roll back to a deploy and wait until it is live, unless its commit is."""
        if deploy["status"] == LIVE:
            _say(f"{self.name}: is live on it already")
        else:
            self._start(f"{self._path}/rollback", {"deployId": deploy["id"]})

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
                _say(f"{self.name}: {deploy} is {seen}")
            if seen in FAILED:
                sys.exit(f"{self.name}: {deploy} is {seen}: see its log in the Dashboard")

    def _deploys(self) -> list[dict[str, Any]]:
        found = self.api.ask("GET", f"{self._path}/deploys?limit=50")
        return [entry["deploy"] for entry in found]


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _commit(deploy: dict[str, Any]) -> str:
    commit = deploy.get("commit") or {}
    return commit.get("id") or ""


def _returned(history: list[dict[str, Any]]) -> bool:
    """Whether the commit that is live is so by a roll-back, perhaps with new settings since."""
    live = takewhile(lambda deploy: _commit(deploy) == _commit(history[0]), history)
    return any(deploy.get("trigger") == ROLL_BACK for deploy in live)


def _before(histories: list[list[dict[str, Any]]]) -> str:
    """Choose the one commit to which all services return; where there is none, say so."""
    for history in histories:
        if _returned(history):
            return _commit(history[0])
    lines = [[_commit(deploy) for deploy in history] for history in histories]
    live = {line[0] for line in lines if line}
    first_live = lines[0][::-1].index
    shared = [commit for commit in lines[0] if all(commit in line for line in lines)]
    halves = live.intersection(shared) if len(live) > 1 else ()
    # Not what was left for the commit of now before: [A, B, A, Z] leads to Z, [C, A, B, A, Z] to A.
    earlier = [commit for commit in shared if first_live(commit) < first_live(lines[0][0])]
    if not (halves or earlier):
        sys.exit("There is no earlier commit that was live on every service: name one")
    return min(halves, key=first_live) if halves else earlier[0]


def roll_back(services: list[Service], commit: str | None) -> None:
    """Return to a commit, or to the one before; services that were never live on it stay."""
    histories = [service.been_live() for service in services]
    target = commit or _before(histories)
    _say(f"Returning to {target}")
    never = []
    for service, history in zip(services, histories, strict=True):
        found = next((deploy for deploy in history if _commit(deploy) == target), None)
        if found:
            service.return_to(found)
        else:
            never.append(service.name)
    if never:
        sys.exit(f"{', '.join(never)}: never live on {target}, and left alone")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Deploy on Render, or roll back")
    parser.add_argument("commit", nargs="?", help="deploy this commit, or return to it")
    parser.add_argument("--roll-back", action="store_true", help="return to what was live before")
    parser.add_argument("--poll", type=float, default=POLL_SECONDS, help="seconds between looks")
    arguments = parser.parse_args()
    if not (arguments.commit or arguments.roll_back):
        parser.error("a commit or --roll-back is needed")
    for name in ("RENDER_API_KEY", "RENDER_SERVICES"):
        if not os.environ.get(name):
            sys.exit(f"{name} is not set")
    api = Api(os.environ.get("RENDER_API_URL") or API_URL, os.environ["RENDER_API_KEY"])
    names = filter(None, (name.strip() for name in os.environ["RENDER_SERVICES"].split(",")))
    services = [Service(api, name, arguments.poll) for name in names]
    try:
        if arguments.roll_back:
            roll_back(services, arguments.commit)
        else:
            for service in services:
                service.deploy(arguments.commit)
    except (OSError, HTTPException) as error:
        sys.exit(f"Render's API: {error}")


if __name__ == "__main__":
    main()
