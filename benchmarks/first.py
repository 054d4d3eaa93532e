"""From nothing to the first 200: `make service` on a machine that has its packages in the cache."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.figures import Effort, Figure, in_turn, ratios
from benchmarks.programs import Program, directory
from tests.support.runs import environment
from tests.support.worktree import clone

NAMES = ("first",)

INTERPRETER = Path(sys.base_prefix, "bin", "python3")


def measure(_: Sequence[str], effort: Effort) -> Iterator[Figure]:
    """Start the default service from a fresh clone, and then once more."""
    found = in_turn(min(2, effort.rounds), {"": _start})[""]
    first, again = zip(*found, strict=True)
    yield Figure(name="nothing to first 200", of="make service", unit="s", values=first)
    yield Figure(
        name="nothing to first 200",
        of="the same again",
        unit="s",
        values=again,
        ratios=ratios(again, {"the first": first}),
    )


def _start() -> tuple[float, float]:
    with directory() as place:
        repository = clone(place / "groundwork")
        service = place / "my-service"
        command = ("make", "service", f"DIR={service}", "PORT={port}", f"PYTHON={INTERPRETER}")
        return _twice(Program(command=command, place=repository, variables=environment()))


def _twice(program: Program) -> tuple[float, float]:
    with program.running() as server:
        first = server.first_answer("/ready", 600)
    with program.running() as server:
        return first, server.first_answer("/ready", 600)
