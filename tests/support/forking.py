"""Runs tests of a service again and again, in processes that have imported the libraries already.

A program, started in the service's directory (see `mutants.py`). It reads one JSON object a line:
the tests to run in `tests`, after how many seconds to give up in `seconds`, and in `watched` the
file to write how long each file of tests took, and what it ran. It answers each with `status`,
pytest's own or -1 when it was given up, and what was said, in `output`.
"""

import ast
import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

OWN = ("app", "tests")
GIVEN_UP = -1
OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")


def libraries() -> Iterator[str]:
    """Name the modules of others that the service and its tests import."""
    for path in [*Path("app").rglob("*.py"), *Path("tests").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from (each.name for each in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module


def import_libraries() -> None:
    """Import them all, but for those that cannot be imported here."""
    for name in sorted({*libraries()}):
        if name.split(".")[0] not in OWN:
            with contextlib.suppress(Exception), warnings.catch_warnings(action="ignore"):
                importlib.import_module(name)


class Watch:
    """A plugin of pytest that notes which lines of the service each file of tests runs."""

    def __init__(self, notes: str) -> None:
        self.notes = notes
        self.own = f"{Path.cwd()}/app/"
        self.lines: dict[str, set[tuple[CodeType, int]]] = {}
        self.took: dict[str, float] = {}
        self.now: set[tuple[CodeType, int]] = set()
        self.foreign: set[CodeType] = set()

    def _called(
        self, frame: FrameType, _event: str, _argument: object
    ) -> Callable[..., Any] | None:
        code = frame.f_code
        if code in self.foreign:
            return None
        if not code.co_filename.startswith(self.own):
            self.foreign.add(code)
            return None
        self.now.add((code, code.co_firstlineno))
        return self._ran

    def _ran(self, frame: FrameType, event: str, _argument: object) -> Callable[..., Any]:
        if event == "line":
            self.now.add((frame.f_code, frame.f_lineno))
        return self._ran

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Watch one test."""
        name = item.location[0]
        self.now = self.lines.setdefault(name, set())
        began = time.monotonic()
        sys.settrace(self._called)
        threading.settrace(self._called)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)
            self.took[name] = self.took.get(name, 0) + time.monotonic() - began

    def pytest_sessionfinish(self) -> None:
        """Write down what was seen."""
        notes = {
            name: {
                "seconds": self.took[name],
                "lines": sorted(
                    f"app/{code.co_filename.removeprefix(self.own)}:{line}" for code, line in lines
                ),
            }
            for name, lines in self.lines.items()
        }
        Path(self.notes).write_text(json.dumps(notes), "utf-8")


def run(tests: list[str], seconds: float, watched: str = "") -> tuple[int, str]:
    """Run some tests in a process of its own, until the first that fails."""
    with tempfile.TemporaryFile() as output:
        process = os.fork()
        if not process:
            _run_here(tests, output.fileno(), watched)
        status = _wait(process, time.monotonic() + seconds)
        output.seek(0)
        return status, output.read().decode(errors="replace")


def _run_here(tests: list[str], output: int, watched: str) -> None:
    status = 3
    try:
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.path.insert(0, "")
        plugins = [Watch(watched)] if watched else []
        status = int(pytest.main([*OPTIONS, *tests], plugins))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(process: int, end: float) -> int:
    try:
        while time.monotonic() < end:
            found, status = os.waitpid(process, os.WNOHANG)
            if found:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        return GIVEN_UP
    finally:
        # Whatever the tests have started belongs to their session.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process, 0)


def main() -> None:
    """Answer until there is nothing more to read."""
    import_libraries()
    for line in sys.stdin:
        asked = json.loads(line)
        status, output = run(asked["tests"], asked["seconds"], asked.get("watched", ""))
        sys.stdout.write(json.dumps({"status": status, "output": output}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
