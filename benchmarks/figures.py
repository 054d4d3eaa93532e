"""Figures, and the one table in which they stand."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

T = TypeVar("T")

Values = Sequence[float]
Ratios = Mapping[str, Values]

COLUMNS = ("benchmark", "of", "median", "lowest - highest", "unit", "ratio", "beside")
NUMBERS = frozenset({"median"})
"""Columns that end at the same place instead of beginning there."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is done for the figures.

    Attributes:
        rounds: how often everything is measured, all in turn.
        seconds: how long a server is asked in each round.
        brief: leave out what takes long, for the test that nothing of this rots.
    """

    rounds: int = 9
    seconds: float = 1.0
    brief: bool = False

    @property
    def few(self) -> int:
        """Rounds of what takes seconds."""
        return max(1, self.rounds // 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table.

    Attributes:
        name: the benchmark.
        of: what was measured.
        unit: of the values.
        values: one of each round; none when it could not be measured.
        ratios: to what it is compared with, round by round.
        beside: what else is worth knowing.
    """

    name: str
    of: str
    unit: str = ""
    values: Values = ()
    ratios: Ratios = field(default_factory=dict)
    beside: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of its columns."""
        middle, span = ("not run", "") if not self.values else (number(median(self.values)), "")
        if len(self.values) > 1:
            span = f"{number(min(self.values))} - {number(max(self.values))}"
        compared = (f"{spread(each)} of {mark}" for mark, each in self.ratios.items())
        return self.name, self.of, middle, span, self.unit, ", ".join(compared), self.beside


def number(value: float) -> str:
    """Write three significant digits."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def spread(values: Values) -> str:
    """Write a median and how far the values lie apart."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{median(values):.2f} ({min(values):.2f} - {max(values):.2f})"


def in_turn(rounds: int, measures: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Measure A B A B …, so that whatever else the machine does disturbs all alike."""
    found: dict[str, list[T]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            found[name].append(measure())
    return found


def ratios(values: Values, marks: Mapping[str, Values]) -> Ratios:
    """Divide by what was measured in the same round."""
    return {
        name: [one / other for one, other in zip(values, mark, strict=True)]
        for name, mark in marks.items()
    }


def table(figures: Iterable[Figure]) -> Iterator[str]:
    """Give the lines of the table, the columns below each other."""
    rows = [COLUMNS, *(figure.cells for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if column in NUMBERS else cell.ljust(width)
            for column, cell, width in zip(COLUMNS, row, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()
