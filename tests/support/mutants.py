"""Takes one wire after the other out of services, and sees whether their own tests miss it."""

import bisect
import itertools
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

from tests.support import forking
from tests.support.render import Renderer, Tree
from tests.support.runs import database_server, environment, python, with_own_packages
from tests.support.template import ROOT, Answers
from tests.support.wires import Wire, wires_of

NO_WIRES = re.compile(r"^app/core/(development|backup)/|/__main__\.py$|^app/seed\.py$")
"""What does not run in a service: tools of its developers and its operators."""

SERVICES: Mapping[str, Answers] = {
    "oidc": {
        "database": "sqlite",
        "auth": "oidc",
        "encryption": True,
        "gateway": True,
        "monitoring": True,
        "tracing": True,
    },
    "local": {
        "database": "sqlite",
        "auth": "local",
        "tenancy": True,
        "worker": "none",
        "monitoring": True,
    },
    "vault": {
        "database": "sqlite",
        "auth": "supabase",
        "vault": True,
        "worker": "celery",
        "databases": "dual",
        "models": "sqlmodel",
        "external_api": "bybit",
        "encryption": True,
        "tenancy": True,
    },
    "arq": {
        "preset": "minimal",
        "database": "sqlite",
        "databases": "dual",
        "auth": "local",
        "vault": True,
        "redis": True,
        "worker": "arq",
        "monitoring": True,
    },
    "postgresql": {
        "preset": "minimal",
        "database": "postgresql",
        "auth": "clerk",
        "tenancy": True,
        "examples": True,
    },
    "mysql": {"preset": "minimal", "database": "mysql", "examples": True},
}
"""Few services that have every wire between them; the first that has one is asked for it."""

RECORD = ROOT / "tests/missed.json"
"""Which file of tests misses each wire, by path and name: it is asked first the next time."""

TYPES = "types"
"""Stands in the place of a file of tests where the check of types misses a wire, and no test."""

FIRST, SECONDS, MOST_SECONDS = 12, 120, 1500
"""Seconds of tests that come first, and how long they, and all others, may take at the most."""

WRONG_TYPES = -2
"""The status when the check of types is red, where pytest has one of its own."""

UNKNOWN = 2.5
"""Seconds that are reckoned for a file of tests that was not watched."""


@dataclass(frozen=True)
class Verdict:
    """What became of a wire that was taken out.

    Attributes:
        wire: which one.
        killed: whether a test was red.
        by: the test that was, `TYPES`, or what else happened.
        seconds: how long it took.
    """

    wire: Wire
    killed: bool
    by: str
    seconds: float


def wires_in(tree: Tree) -> Iterator[Wire]:
    """List the wires of a rendered service."""
    for path, content in sorted(tree.items()):
        ours = path.startswith("app/") or path == "migrations/env.py"
        if path.endswith(".py") and ours and not NO_WIRES.search(path):
            yield from wires_of(path, content.decode())


def recorded() -> dict[str, str]:
    """Read which file of tests misses each wire."""
    record: dict[str, str] = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {}
    return record


class Suite:
    """The tests of a service in some directory, some of which are likelier than others."""

    def __init__(self, directory: Path, watched: Path) -> None:
        self.directory = directory
        self.watched = watched

    @cached_property
    def _notes(self) -> Mapping[str, Mapping[str, Any]]:
        """Which lines each file of tests runs, and how long it takes."""
        if not self.watched.exists():
            return {}
        notes: Mapping[str, Mapping[str, Any]] = json.loads(self.watched.read_text("utf-8"))
        return {name: {**each, "lines": {*each["lines"]}} for name, each in notes.items()}

    def seconds(self, test: str) -> float:
        """How long a file of tests takes."""
        seconds: float = self._notes.get(test, {}).get("seconds", UNKNOWN)
        return seconds

    @cached_property
    def _runners(self) -> Counter[str]:
        return Counter(line for notes in self._notes.values() for line in notes["lines"])

    @cached_property
    def _words(self) -> Mapping[str, frozenset[str]]:
        """The words in each file of tests."""
        tests = sorted((self.directory / "tests").rglob("test_*.py"))
        return {
            str(path.relative_to(self.directory)): frozenset(
                re.findall(r"\w{3,}", path.read_text("utf-8"))
            )
            for path in tests
        }

    @cached_property
    def _common(self) -> Counter[str]:
        return Counter(word for words in self._words.values() for word in words)

    def likely(self, wire: Wire) -> list[str]:
        """Give all files of tests, those first that name what the wire is about."""
        module = wire.path.removesuffix(".py").replace("/", ".")
        about = _named(wire.path, 2)

        lines = {f"{wire.path}:{line}" for line in wire.lines}

        def score(test: str) -> float:
            words = self._words[test]
            named = _named(test, 1)
            known = sum(
                math.log(len(self._words) / self._common[word]) for word in wire.words & words
            )
            text = (self.directory / test).read_text("utf-8")
            imported = 6 if module in text else 0
            notes = self._notes.get(test, {})
            run = sum(
                3 + 2 * math.log(len(self._notes) / self._runners[line])
                for line in lines & notes.get("lines", frozenset())
            )
            slow = 2 * math.log2(max(self.seconds(test), 0.5))
            return known + imported + run + 5 * len(about & named) - slow

        return sorted(self._words, key=lambda test: (-score(test), test))


def _named(path: str, below: int) -> set[str]:
    """Give the words in a path, without the first directories."""
    words = re.findall(r"[^\W_]+", "_".join(Path(path).with_suffix("").parts[below:]))
    return {word.rstrip("s") for word in words} - {"test", "core"}


class Missing:
    """Runs the tests of a service that misses something.

    Args:
        directory: where the service is, and stays complete in between.
        variables: further environment of its tests.
    """

    def __init__(self, directory: Path, variables: Mapping[str, str]) -> None:
        self.directory = directory
        self.watched = directory.parent / f"{directory.name}.watched"
        self.suite = Suite(directory, self.watched)
        self.record = recorded()
        compiled = directory.parent / f"{directory.name}.compiled"
        given = {**environment(**variables), "PYTHONPYCACHEPREFIX": str(compiled)}
        given.pop("PYTHONDONTWRITEBYTECODE")
        self._written = 0
        self._process = subprocess.Popen(
            [sys.executable, str(Path(forking.__file__))],
            cwd=directory,
            env=with_own_packages(directory, given),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)

    def watch(self) -> tuple[int, str]:
        """Run all tests of the complete service, and note which lines each file of them runs."""
        return self.tests(["tests"], MOST_SECONDS, str(self.watched))

    def tests(self, tests: Sequence[str], seconds: float, watched: str = "") -> tuple[int, str]:
        """Run tests; give pytest's status and what it said."""
        assert self._process.stdin
        assert self._process.stdout
        asked = {"tests": [*tests], "seconds": seconds, "watched": watched}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        said = json.loads(self._process.stdout.readline())
        return said["status"], said["output"]

    def verdict(self, wire: Wire, *, all_of_them: bool = True) -> Verdict:
        """Take a wire out, run the tests until one is red, then check the types; put it back."""
        began = time.monotonic()
        target = self.directory / wire.path
        whole = target.read_text("utf-8")
        status, output = 0, ""
        try:
            self._write(target, wire.mutated)
            for turn in self._turns(wire, all_of_them=all_of_them):
                if not status:
                    status, output = turn()
        finally:
            self._write(target, whole)
        return Verdict(wire, status != 0, _red(status, output), time.monotonic() - began)

    def _turns(self, wire: Wire, *, all_of_them: bool) -> Iterator[Callable[[], tuple[int, str]]]:
        """Give what to run one after the other, what has missed it before first."""
        before = self.record.get(str(wire))
        tests = self.suite.likely(wire)
        known = [test for test in tests if test == before]
        others = [test for test in tests if test not in known]
        if known:
            yield partial(self.tests, known, SECONDS)
        if before == TYPES:
            yield self.types
        reckoned = list(itertools.accumulate(map(self.suite.seconds, others)))
        few = bisect.bisect(reckoned, FIRST)
        yield partial(self.tests, others[:few], SECONDS)
        if all_of_them:
            yield partial(self.tests, others[few:], MOST_SECONDS)
            yield self.types

    def types(self) -> tuple[int, str]:
        """Check the types, as `make check` does: a base may be there for them alone."""
        cache = self.directory.parent / f"{self.directory.name}.types"
        try:
            python(self.directory, "-m", "mypy", "--cache-dir", str(cache))
        except AssertionError as error:
            return WRONG_TYPES, str(error)
        return 0, ""

    def _write(self, target: Path, text: str) -> None:
        """Write a file at a time of its own, so that no compiled one is taken for it."""
        target.write_text(text, "utf-8")
        self._written += 1
        moment = target.stat().st_mtime + 2 * self._written
        os.utime(target, (moment, moment))


def _red(status: int, output: str) -> str:
    if status == forking.GIVEN_UP:
        return "no end"
    if status == WRONG_TYPES:
        return TYPES
    if found := re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE):
        return found.group(1)
    return f"status {status}: {' '.join(output.split())[-200:]}" if status else ""


@contextmanager
def service(renderer: Renderer, tree: Tree, directory: Path) -> Iterator[Missing]:
    """Write a service, with a database server where its tests want one."""
    shutil.rmtree(directory, ignore_errors=True)
    renderer.write(tree, directory)
    if "app/core/database/flavours/sqlite.py" in tree:
        with Missing(directory, {}) as missing:
            yield missing
        return
    with (
        database_server(directory, directory.parent / f"{directory.name}.data") as address,
        Missing(directory, {"TEST_DATABASE_URL": address}) as missing,
    ):
        yield missing


def counted(verdicts: Iterable[Verdict]) -> str:
    """Say in one line what became of all."""
    verdicts = list(verdicts)
    killed = sum(each.killed for each in verdicts)
    return f"{len(verdicts)} wires, {killed} missed by a test, {len(verdicts) - killed} by none"
