"""How long tests take: those of a service, and the whole matrix the last time it was run."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from resource import RUSAGE_CHILDREN, getrusage
from xml.etree import ElementTree

from benchmarks.figures import Effort, Figure, number
from benchmarks.programs import directory, rendered
from tests.support.matrix import Matrix
from tests.support.render import Renderer
from tests.support.results import Results
from tests.support.runs import database_server, environment
from tests.support.services import Services
from tests.support.template import Template
from tools.matrix import CORE

NAMES = ("suite", "matrix")

FEW = "tests/core/test_health.py"
AS_MAKE_TEST = ("--numprocesses", "4")


def measure(names: Sequence[str], effort: Effort) -> Iterator[Figure]:
    """Run a suite, and read what is known of the matrix."""
    if "suite" in names:
        yield _suite(effort)
    if "matrix" in names:
        yield _matrix()


def _suite(effort: Effort) -> Figure:
    """Run the suite of the smallest service as `make test` does, on the real PostgreSQL."""
    database = "sqlite" if effort.brief else "postgresql"
    with ExitStack() as stack:
        place = stack.enter_context(directory())
        service = rendered(place / "service", preset="minimal", database=database)
        server = stack.enter_context(database_server(service, place / "data"))
        report = place / "report.xml"
        before = getrusage(RUSAGE_CHILDREN)
        subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
                *(f"--junit-xml={report}", *([FEW] if effort.brief else AS_MAKE_TEST)),
            ],
            cwd=service,
            env=environment(TEST_DATABASE_URL=server, PYTHONDONTWRITEBYTECODE=""),
            check=True,
            stdout=subprocess.DEVNULL,
        )
        after = getrusage(RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        [tests] = ElementTree.parse(report).getroot()  # noqa: S314 - our own file
        return Figure(
            name="suite",
            of=f"minimal, {database}",
            unit="s",
            values=[float(tests.attrib["time"])],
            beside=f"{tests.attrib['tests']} tests, {number(cpu)} s CPU",
        )


def _matrix() -> Figure:
    """Add up what the services of the matrix took that were run as they are now."""
    template = Template()
    services = Services(Matrix(template), Renderer(template))
    wanted, results = services.crossed(CORE.split()), Results(services)
    known = [result for result in map(results.of, wanted) if result is not None]
    return Figure(
        name="matrix",
        of="every core combination",
        unit="s",
        values=[sum(sum(each.seconds.values()) for each in known)] if known else (),
        beside=f"{len(known)} of {len(wanted)} services, as if one after the other",
    )
