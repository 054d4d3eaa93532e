"""What became of the services that were run, kept from one run to the next.

A result is of one content: the service as it runs, the tests of the template that ran it, and the
packages that all share. A run can leave out what has passed, and a report can be drawn from it.
"""

import hashlib
import json
import os
import platform
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import pytest

from tests.support.services import Service, Services, fingerprint

TESTS = "tests/test_services.py"
SHARED = (
    TESTS,
    *(f"tests/support/{name}.py" for name in ("results", "runs", "vaults")),
    "requirements*.txt",
)
WHOLE = frozenset(
    {
        "test_own_tests",
        "test_types_and_style",
        "test_serves_in_development_and_in_production",
    }
)
"""The tests that every service has to pass."""


@dataclass(frozen=True)
class Result:
    """What became of one service.

    Attributes:
        service: its name.
        commit: of the template; with a `+` when there were changes that are in no commit.
        date: when it was run, in ISO 8601 and UTC.
        outcomes: `passed`, `failed` or `skipped` of each test that ran it.
        seconds: what each of them took.
        own_tests: how many tests of its own passed.
    """

    service: str
    commit: str
    date: str
    outcomes: Mapping[str, str]
    seconds: Mapping[str, float]
    own_tests: int = 0

    @property
    def finished(self) -> bool:
        """Whether all of it was run, or some of it is wrong."""
        return self.outcomes.keys() >= WHOLE or "failed" in self.outcomes.values()

    @property
    def passed(self) -> bool:
        """Whether all of it was run, and is right."""
        return self.outcomes.keys() >= WHOLE and set(self.outcomes.values()) == {"passed"}


@dataclass
class _Run:
    outcomes: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    own_tests: int = 0


class Results:
    """The results on this machine.

    Args:
        services: of the template.
        directory: where they are kept, a file for each.
    """

    def __init__(self, services: Services, directory: Path | None = None) -> None:
        self.services = services
        self.directory = directory or _cache() / "results"
        self._shared = _shared(services.template.root)
        self._commit = _commit(services.template.root)

    def of(self, service: Service) -> Result | None:
        """Give the result of a service as it is now."""
        return _read(self._file(service))

    def last(self, service: Service) -> Result | None:
        """Give the newest result of a service by this name, of whatever content."""
        return self.of(service) or self._newest.get(service.name)

    @cached_property
    def _newest(self) -> Mapping[str, Result]:
        files = self.directory.glob("*.json")
        results = filter(None, map(_read, files))
        return {each.service: each for each in sorted(results, key=lambda each: each.date)}

    def without_passed(self, services: Iterable[Service]) -> list[Service]:
        """Leave out those that have passed as they are now."""
        found = ((each, self.of(each)) for each in services)
        return [service for service, result in found if result is None or not result.passed]

    def keep(self, services: Iterable[Service], reports: Iterable[pytest.TestReport]) -> None:
        """Keep what became of services in a run, beside what other tests have said of the same."""
        runs = _runs(reports)
        date = datetime.now(UTC).isoformat(timespec="seconds")
        for service in services:
            if (run := runs.get(service.name)) is None:
                continue
            before = self.of(service) or Result(service.name, self._commit, date, {}, {})
            result = Result(
                service.name,
                self._commit,
                date,
                {**before.outcomes, **run.outcomes},
                {**before.seconds, **run.seconds},
                run.own_tests or before.own_tests,
            )
            _write(result, self._file(service))

    def _file(self, service: Service) -> Path:
        content = fingerprint(self.services.tree(service))
        key = hashlib.sha256(f"{content} {self._shared}".encode()).hexdigest()
        return self.directory / f"{key}.json"


class Keeping:
    """A plugin that keeps a test's result when it has ended, so that a broken run loses no more.

    Args:
        results: where to.
        services: finds those that the run is about, if any of them is run.
    """

    def __init__(self, results: Results, services: Callable[[], Iterable[Service]]) -> None:
        self._results = results
        self._find = services
        self._reports: dict[str, list[pytest.TestReport]] = defaultdict(list)

    @cached_property
    def _services(self) -> Mapping[str, Service]:
        return {service.name: service for service in self._find()}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather a test's parts; the last one is that it is taken down."""
        if not report.nodeid.startswith(f"{TESTS}::"):
            return
        self._reports[report.nodeid].append(report)
        if report.when == "teardown":
            reports = self._reports.pop(report.nodeid)
            found = map(self._services.get, _runs(reports))
            self._results.keep(filter(None, found), reports)


def wanted(services: Services, environment: Mapping[str, str]) -> list[Service]:
    """Give those that a run is about: of AXES, and with RESUME what has not passed yet."""
    found = services.wanted(environment.get("AXES"))
    return Results(services).without_passed(found) if environment.get("RESUME") else found


def _read(file: Path) -> Result | None:
    try:
        return Result(**json.loads(file.read_text("utf-8")))
    except (FileNotFoundError, ValueError):  # a full disk or a killed machine leaves empty files
        return None


def _write(result: Result, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = file.with_suffix(f".{os.getpid()}")
    whole.write_text(json.dumps(asdict(result), indent=1), "utf-8")
    whole.replace(file)


def _cache() -> Path:
    usual = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("CI_CACHE_DIR") or Path(usual) / "groundwork")


def _commit(root: Path) -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()

    changed = "+" if git("status", "--porcelain") else ""
    return git("rev-parse", "--short", "HEAD") + changed


def _shared(root: Path) -> str:
    files = sorted(path for pattern in SHARED for path in root.glob(pattern))
    digest = hashlib.sha256(platform.python_version().encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _runs(reports: Iterable[pytest.TestReport]) -> dict[str, _Run]:
    runs: dict[str, _Run] = defaultdict(_Run)
    for report in reports:
        file, _, rest = report.nodeid.partition("::")
        test, bracket, service = rest.partition("[")
        if file != TESTS or not bracket:
            continue
        run = runs[service.removesuffix("]")]
        run.seconds[test] += report.duration
        # What fails before or after a test counts as much as what fails in it.
        if report.when == "call" or not report.passed:
            worse = run.outcomes.get(test) == "failed"
            run.outcomes[test] = "failed" if worse else report.outcome
        run.own_tests += sum(_own_tests(report))
    return runs


def _own_tests(report: pytest.TestReport) -> Iterator[int]:
    if report.when == "call":
        for name, value in report.user_properties:
            if name == "own tests" and isinstance(value, list | tuple):
                yield int(value[1])
