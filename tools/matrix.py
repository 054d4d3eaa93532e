"""Draw what was run, when, how long and with what result: `make report` writes docs/matrix.html."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tests.support.matrix import Matrix
from tests.support.render import Renderer
from tests.support.results import Result, Results
from tests.support.services import THREES, Service, Services
from tests.support.template import Answers, Template

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "matrix.html"
RESULTS = DOCS / "results.json"
"""What the reference shows of it, and what was run on other machines."""

CORE = "database databases tenancy auth vault"
"""The answers of which every combination is to be run; `deploy` changes nothing that runs."""

COLUMNS = ("database", "databases", "tenancy")
ROWS = ("auth", "vault")
SETS = {
    "Each pair of answers: every run of the tests": None,
    f"Every combination of {CORE}": CORE,
    "Every combination of redis worker gateway external_api database": (
        "redis worker gateway external_api database"
    ),
    "Each three answers": THREES,
}
NAMES = {1: "values", 2: "pairs", 3: "triples"}


@dataclass(frozen=True)
class Shown:
    """What the page shows of one service.

    Attributes:
        service: its name.
        commit: of the template that it is of.
        date: when it was run, in ISO 8601 and UTC.
        passed: whether all of it was run, and is right.
        seconds: what its tests took.
        own_tests: how many tests of its own passed.
    """

    service: str
    commit: str
    date: str
    passed: bool
    seconds: float
    own_tests: int

    @classmethod
    def of(cls, result: Result) -> "Shown":
        """Show a result of this machine."""
        return cls(
            service=result.service,
            commit=result.commit,
            date=result.date,
            passed=result.passed,
            seconds=round(sum(result.seconds.values()), 1),
            own_tests=result.own_tests,
        )


class Report:
    """What the page shows: the newest result of each service, with the commit that it is of.

    Args:
        services: of the template.
        results: what became of them on this machine.
        before: what was drawn before, by service: also what other machines have run.
    """

    def __init__(
        self, services: Services, results: Results, before: Mapping[str, Shown] | None = None
    ) -> None:
        self.services = services
        self.results = results
        self.before = before or {}

    def last(self, service: Service) -> Shown | None:
        """Give what was run last of a service, wherever."""
        result = self.results.last(service)
        found = [Shown.of(result)] if result and result.finished else []
        found += [self.before[service.name]] if service.name in self.before else []
        return max(found, key=lambda shown: shown.date, default=None)

    def sets(self) -> list[tuple[str, list[tuple[Service, Shown | None]]]]:
        """Give the sets of services, each service with its result."""
        return [
            (title, [(each, self.last(each)) for each in self.services.wanted(axes)])
            for title, axes in SETS.items()
        ]

    def covered(self, services: Iterable[Service]) -> list[tuple[str, int, int]]:
        """Count the values, pairs and triples of answers that services have, of all legal ones."""
        found = list(services)
        return [(name, *self.services.covered(found, size)) for size, name in NAMES.items()]

    def grid(self) -> dict[tuple[object, ...], dict[tuple[object, ...], Shown | None]]:
        """Give the results of the core combinations, by their answers: rows, then columns."""
        found: dict[tuple[object, ...], dict[tuple[object, ...], Shown | None]] = {}
        for service in self.services.crossed(CORE.split()):
            row = found.setdefault(_of(service.answers, ROWS), {})
            row[_of(service.answers, COLUMNS)] = self.last(service)
        return found

    def kept(
        self,
        passed: Iterable[Service],
        sets: Sequence[tuple[str, list[tuple[Service, Shown | None]]]],
    ) -> dict[str, Any]:
        """Give what is kept in the repository, in JSON."""
        run = [result for _, members in sets for _, result in members if result is not None]
        last = max(run, key=lambda result: result.date, default=None)
        return {
            "date": last.date if last else "",
            "commit": last.commit if last else "",
            "sets": [
                (title, sum(each is not None and each.passed for _, each in members), len(members))
                for title, members in sets
            ],
            "covered": self.covered(passed),
            "grid": [
                {
                    "row": row,
                    "column": column,
                    "passed": result and result.passed,
                    "seconds": result.seconds if result else 0,
                }
                for row, cells in self.grid().items()
                for column, result in cells.items()
            ],
            "services": [
                asdict(each) for _, each in sorted({each.service: each for each in run}.items())
            ],
        }


def drawn(file: Path) -> dict[str, Shown]:
    """Read what was drawn before, by service."""
    kept = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return {each["service"]: Shown(**each) for each in kept.get("services", ())}


def _of(answers: Answers, names: Iterable[str]) -> tuple[object, ...]:
    return tuple(answers[name] for name in names)


def main() -> None:
    """Write the page, and say what it says."""
    services = Services(Matrix(template := Template()), Renderer(template))
    report = Report(services, Results(services), drawn(RESULTS))
    sets = report.sets()
    passed = {
        service.name: service
        for _, members in sets
        for service, result in members
        if result is not None and result.passed
    }
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("matrix.html.jinja").render(
        legal=services.matrix.count(),
        covered=report.covered(passed.values()),
        sets=sets,
        grid=report.grid(),
        rows=ROWS,
        columns=COLUMNS,
    )
    PAGE.write_text(page, "utf-8")
    RESULTS.write_text(json.dumps(report.kept(passed.values(), sets), indent=1) + "\n", "utf-8")
    for title, members in sets:
        good = sum(result is not None and result.passed for _, result in members)
        sys.stdout.write(f"{title}: {good} of {len(members)} have passed\n")


if __name__ == "__main__":
    main()
