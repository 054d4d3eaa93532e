"""Measure, and print one table: `python -m benchmarks [NAME ...]`."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks import first, gateway, rendering, serving, suites
from benchmarks.figures import Effort, Figure, table


@dataclass(frozen=True, slots=True)
class Group:
    """Benchmarks that share what they need."""

    names: tuple[str, ...]
    measure: Callable[[Sequence[str], Effort], Iterator[Figure]]


GROUPS = tuple(
    Group(module.NAMES, module.measure) for module in (rendering, first, serving, gateway, suites)
)
NAMES = tuple(name for group in GROUPS for name in group.names)


def figures(names: Sequence[str], effort: Effort) -> Iterator[Figure]:
    """Measure some benchmarks; one that lacks a program says which."""
    for group in GROUPS:
        wanted = [name for name in group.names if name in names]
        if not wanted:
            continue
        try:
            yield from group.measure(wanted, effort)
        except LookupError as missing:
            yield Figure(name=", ".join(wanted), of="", beside=str(missing))


def main() -> None:
    """Read the command line, measure, and print."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--rounds", type=int, default=Effort.rounds, help="all in turn")
    parser.add_argument("--seconds", type=float, default=Effort.seconds, help="of each load")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    effort = Effort(rounds=options.rounds, seconds=options.seconds)
    found = []
    for figure in figures(options.names or NAMES, effort):
        found.append(figure)
        sys.stderr.write(f"{figure.name}: {figure.of}\n")
    sys.stdout.write("\n".join([*table(found), ""]))


if __name__ == "__main__":
    main()
