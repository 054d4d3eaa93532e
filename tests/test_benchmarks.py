"""Benchmarks run and give figures; what they are is nobody's test.

Two run elsewhere: that of the gateway in `test_gateway.py`, and `make service` on a fresh clone, of
which `test_commands.py` tests more than is measured.
"""

import pytest

from benchmarks import rendering, serving, suites
from benchmarks.__main__ import figures
from benchmarks.figures import Effort, Figure, table

LEAST = Effort(rounds=1, seconds=0.05, brief=True)


@pytest.mark.parametrize("names", [rendering.NAMES, serving.NAMES, suites.NAMES[:1]])
def test_benchmark_gives_figures(names: tuple[str, ...]) -> None:
    assert_measured(list(figures(names, LEAST)))


def assert_measured(found: list[Figure]) -> None:
    assert found
    for figure in found:
        assert figure.values
        assert all(
            value > 0 for values in (figure.values, *figure.ratios.values()) for value in values
        )


def test_one_table_with_columns_below_each_other() -> None:
    lines = table(
        [
            Figure(name="one", of="the first", unit="s", values=[3, 1, 2], beside="more"),
            Figure(name="another", of="b", values=[1234.5], ratios={"a": [2, 0.5, 1]}),
            Figure(name="matrix", of="a file"),
        ]
    )
    assert list(lines) == [
        "benchmark  of          median  lowest - highest  unit  ratio                    beside",
        "one        the first     2.00  1.00 - 3.00       s                              more",
        "another    b             1234                          1.00 (0.50 - 2.00) of a",
        "matrix     a file     not run",
    ]
