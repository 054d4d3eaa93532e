#!/usr/bin/env python3
"""Open a merge request on GitLab, or give the one that is open a new title and text.

    merge_request.py BRANCH TITLE TEXT.md

Reads what GitLab gives each job (CI_API_V4_URL, CI_PROJECT_ID, CI_DEFAULT_BRANCH), and
TEMPLATE_UPDATE_TOKEN. Prints the address of the merge request. Needs nothing but Python.
"""

from __future__ import annotations

import json
import os
import sys
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

REQUEST_SECONDS = 30.0


def variable(name: str) -> str:
    """Give a variable that has to be set."""
    value = os.environ.get(name)
    return value or sys.exit(f"{name} is not set")


def ask(method: str, path: str, body: dict[str, str] | None = None) -> Any:
    """Give the answer of GitLab to one request about this project's merge requests."""
    url = urlsplit(variable("CI_API_V4_URL"))
    connect = HTTPSConnection if url.scheme == "https" else HTTPConnection
    connection = connect(url.netloc, timeout=REQUEST_SECONDS)
    project = quote(variable("CI_PROJECT_ID"), safe="")
    headers = {
        "Content-Type": "application/json",
        "PRIVATE-TOKEN": variable("TEMPLATE_UPDATE_TOKEN"),
    }
    try:
        target = f"{url.path}/projects/{project}/merge_requests{path}"
        connection.request(method, target, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status >= 300:
        sys.exit(f"{method} {target}: GitLab answered {answer.status} {text[:200].decode()}")
    return json.loads(text)


def main(branch: str, title: str, text: Path) -> None:
    """Open it, or change it."""
    wanted = {"title": title, "description": text.read_text("utf-8")}
    found = ask("GET", "?" + urlencode({"state": "opened", "source_branch": branch}))
    if found:
        request = ask("PUT", f"/{found[0]['iid']}", wanted)
    else:
        branches = {"source_branch": branch, "target_branch": variable("CI_DEFAULT_BRANCH")}
        request = ask("POST", "", {**branches, **wanted})
    sys.stdout.write(f"{request['web_url']}\n")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: merge_request.py BRANCH TITLE TEXT.md")
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
