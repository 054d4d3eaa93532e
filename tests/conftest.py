"""The last lines of a test run: what was rendered, what was run, and what could not be."""

import os
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.support.figures import FIGURE, Figure
from tests.support.matrix import Matrix
from tests.support.order import SLOW, slow_first
from tests.support.render import Renderer
from tests.support.results import Keeping, Results
from tests.support.services import Services
from tests.support.template import Template

Reports = list[pytest.TestReport]


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    """Say what was measured, in the last lines of the run."""
    return partial(record_property, FIGURE)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory in which a service may run a database server.

    Not pytest's own `tmp_path`: as root PostgreSQL runs as another user, and every pytest that
    starts closes the way to those directories to others.
    """
    with TemporaryDirectory(prefix="groundwork-", ignore_cleanup_errors=True) as directory:
        yield Path(directory).resolve()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let no process be left with what takes minutes when the others have finished."""
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    items[:] = slow_first(items, lambda item: getattr(item, "originalname", "") in SLOW, processes)


def pytest_configure(config: pytest.Config) -> None:
    """Keep results where they all arrive, not in the processes that make them."""
    if hasattr(config, "workerinput"):
        return
    services = _services()
    keeping = Keeping(Results(services), lambda: services.wanted(os.environ.get("AXES")))
    config.pluginmanager.register(keeping)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count combinations and services, and name each test that could not run."""
    services = _services()
    matrix, renderer = services.matrix, services.renderer
    wanted = [service.name for service in services.wanted(os.environ.get("AXES"))]
    reports: Reports = [
        report
        for outcome in ("passed", "failed", "skipped")
        for report in terminalreporter.stats.get(outcome, [])
        if isinstance(report, pytest.TestReport)
    ]
    files = [int(str(value)) for value in _noted("contents", reports)]
    run = set(map(str, _noted("service", [report for report in reports if report.passed])))
    legal = matrix.count()
    rendered = legal if len(files) == len(renderer.sources) else 0

    terminalreporter.section("combinations")
    terminalreporter.write_line(
        f"{legal} legal combinations of answers, {rendered} rendered"
        f" ({sum(files)} distinct contents of {len(files)} files);"
        f" {len(wanted)} services have {services.what(os.environ.get('AXES'))}, {len(run)} run"
    )
    for line in sorted(_own_tests(reports)):
        terminalreporter.write_line(f"  {line}")
    for line in _noted("covered", reports):
        terminalreporter.write_line(line)
    for line in _noted(FIGURE, reports):
        terminalreporter.write_line(f"measured: {line}")
    if missing := [name for name in wanted if name not in run]:
        terminalreporter.write_line(f"services not run: {', '.join(missing)}")
    skipped = list(_not_run(reports))
    terminalreporter.write_line(f"{len(skipped)} tests could not run")
    for line in skipped:
        terminalreporter.write_line(f"  {line}")


@cache
def _services() -> Services:
    template = Template()
    return Services(Matrix(template), Renderer(template))


def _noted(name: str, reports: Reports) -> Iterator[Any]:
    for report in reports:
        if report.when == "call":
            yield from (value for key, value in report.user_properties if key == name)


def _own_tests(reports: Reports) -> Iterator[str]:
    for report in reports:
        for name, number in _noted("own tests", [report]):
            yield f"{name}: {number} own tests passed, {report.duration:.0f} s"


def _not_run(reports: Reports) -> Iterator[str]:
    for report in reports:
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            yield f"{report.nodeid}: {str(reason).removeprefix('Skipped: ')}"
