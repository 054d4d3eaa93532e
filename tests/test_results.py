"""What has passed is known the next time, and what has not is run again."""

import json
from pathlib import Path
from typing import Literal

import pytest

from tests.support.matrix import Matrix
from tests.support.render import Renderer
from tests.support.results import TESTS, WHOLE, Keeping, Results
from tests.support.services import Service, Services
from tests.support.template import Template
from tools.matrix import Report, Shown, drawn

SERVICES = Services(Matrix(Template()), Renderer(Template()))
SERVICE, OTHER = SERVICES.chosen[:2]


def reports(
    service: Service, outcome: Literal["passed", "failed"] = "passed", *, when: str = "call"
) -> list[pytest.TestReport]:
    """What a run says of all tests of a service, the last of which ends in some way."""
    ends = [*["passed"] * (len(WHOLE) - 1), outcome]
    return [
        pytest.TestReport(
            nodeid=f"{TESTS}::{test}[{service.name}]",
            location=(TESTS, 1, test),
            keywords={},
            outcome=end,  # type: ignore[arg-type]
            longrepr=None,
            when=when if end == "failed" else "call",  # type: ignore[arg-type]
            duration=2.0,
            user_properties=[("own tests", (service.name, 7))] if test == "test_own_tests" else [],
        )
        for test, end in zip(sorted(WHOLE), ends, strict=True)
    ]


def test_what_has_passed_is_left_out(tmp_path: Path) -> None:
    results = Results(SERVICES, tmp_path)
    assert results.without_passed([SERVICE, OTHER]) == [SERVICE, OTHER]
    results.keep([SERVICE, OTHER], reports(SERVICE))
    assert results.without_passed([SERVICE, OTHER]) == [OTHER]
    result = Results(SERVICES, tmp_path).of(SERVICE)
    assert result is not None
    assert (result.own_tests, sum(result.seconds.values())) == (7, 2.0 * len(WHOLE))


@pytest.mark.parametrize("when", ["setup", "call", "teardown"])
def test_what_has_failed_is_run_again(when: str, tmp_path: Path) -> None:
    results = Results(SERVICES, tmp_path)
    results.keep([SERVICE], reports(SERVICE, "failed", when=when))
    assert results.without_passed([SERVICE]) == [SERVICE]


def test_the_last_result_of_another_content_is_known(tmp_path: Path) -> None:
    results = Results(SERVICES, tmp_path)
    results.keep([SERVICE], reports(SERVICE))
    [file] = tmp_path.iterdir()
    now = json.loads(file.read_text("utf-8"))
    file.unlink()
    for number, date in enumerate(("2026-01-02", "2026-01-03", "2026-01-01")):
        earlier = {**now, "date": date, "commit": date}
        (tmp_path / f"{number}.json").write_text(json.dumps(earlier), "utf-8")
    assert results.of(SERVICE) is None
    last = results.last(SERVICE)
    assert last is not None
    assert last.commit == "2026-01-03"
    assert results.last(OTHER) is None


def test_what_was_run_in_part_is_run_again(tmp_path: Path) -> None:
    results = Results(SERVICES, tmp_path)
    first, *others = reports(SERVICE)
    results.keep([SERVICE], others)
    assert results.without_passed([SERVICE]) == [SERVICE]
    results.keep([SERVICE], [first])
    assert results.without_passed([SERVICE]) == []


def test_a_result_that_was_cut_short_is_none(tmp_path: Path) -> None:
    results = Results(SERVICES, tmp_path)
    results.keep([SERVICE], reports(SERVICE))
    [file] = tmp_path.iterdir()
    file.write_text(file.read_text("utf-8")[:20], "utf-8")
    assert results.of(SERVICE) is None
    assert results.last(SERVICE) is None
    results.keep([SERVICE], reports(SERVICE))
    assert results.without_passed([SERVICE]) == []


def test_the_report_knows_what_was_run_elsewhere(tmp_path: Path) -> None:
    results = Results(SERVICES, tmp_path / "results")
    elsewhere = Shown(SERVICE.name, "abcdef0", "2026-01-01", passed=True, seconds=1.5, own_tests=5)
    report = Report(SERVICES, results, {SERVICE.name: elsewhere})
    first, *others = reports(SERVICE)
    results.keep([SERVICE], others)
    assert report.last(SERVICE) == elsewhere  # what was run in part says nothing
    kept = report.kept([SERVICE], [("all", [(SERVICE, elsewhere)])])
    (file := tmp_path / "results.json").write_text(json.dumps(kept), "utf-8")
    assert drawn(file) == {SERVICE.name: elsewhere}
    results.keep([SERVICE], [first])
    here = Report(SERVICES, results, drawn(file)).last(SERVICE)
    assert here is not None
    assert (here.passed, here.own_tests, here.seconds) == (True, 7, 2.0 * len(WHOLE))
    assert drawn(tmp_path / "none.json") == {}


def test_a_result_is_kept_when_its_test_has_ended(tmp_path: Path) -> None:
    results = Results(SERVICES, tmp_path)
    keeping = Keeping(results, lambda: [SERVICE])
    for report in reports(SERVICE):
        for when in "setup", "call", "teardown":
            keeping.pytest_runtest_logreport(_part(report, when))
        result = results.of(SERVICE)
        assert result is not None
        assert sum(result.seconds.values()) == 6.0 * len(result.outcomes)
    assert results.without_passed([SERVICE]) == []


def _part(report: pytest.TestReport, when: str) -> pytest.TestReport:
    data = report._to_json()
    return pytest.TestReport._from_json({**data, "when": when})
