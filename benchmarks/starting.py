"""How long a service takes to import and to start, and how much memory it holds.

Measured are the default one and the smallest, which does about what the bare programs do; all with
what the default one declares and nothing beside it, since libraries import what they happen to find
(redis-py OpenTelemetry's SDK, structlog colorama).
"""

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from typing import NamedTuple, TypeVar

from benchmarks.figures import Effort, Figure, in_turn, number, ratios
from benchmarks.load import request
from benchmarks.programs import FASTAPI, STARLETTE, Program, Programs, interpreter, programs

T = TypeVar("T")

NAMES = ("import", "start", "memory")

MODULES = {
    STARLETTE: "benchmarks.bare.with_starlette",
    FASTAPI: "benchmarks.bare.with_fastapi",
}
"""What is imported, where it is not the `app.main` of a service."""
OF_BARE = "pyjwt[crypto]"
"""What the bare programs need and the default service does not: it asks no caller for a token."""
REQUESTS = 2_000
"""After so many memory hardly grows."""

Compared = Mapping[str, Program]
Pair = tuple[float, float]
"""What is compared, and what is told beside it."""


class _Run(NamedTuple):
    start: Pair
    memory: Pair


def measure(names: Sequence[str], effort: Effort, made: Programs) -> Iterator[Figure]:
    """Measure some of these, beside the programs that are there already."""
    with ExitStack() as stack:
        compared = {FASTAPI: made.bare[FASTAPI], "service": made.service}
        if not effort.brief:
            default = stack.enter_context(programs()).service
            declared = stack.enter_context(interpreter(default.place, OF_BARE))
            compared = {
                of: replace(program, command=(declared, *program.command[1:]))
                for of, program in {
                    STARLETTE: made.bare[STARLETTE],
                    FASTAPI: made.bare[FASTAPI],
                    "service, preset=minimal": stack.enter_context(
                        programs(preset="minimal")
                    ).service,
                    "service": default,
                }.items()
            }
        if "import" in names:
            yield from _figures("import", "s CPU", _found(_import, compared, effort), "modules")
        if names_of_runs := {"start", "memory"}.intersection(names):
            runs = _found(_run, compared, effort)
            if "start" in names_of_runs:
                found = {of: [each.start for each in every] for of, every in runs.items()}
                yield from _figures("start to first 200", "s CPU", found, "s by the clock")
            if "memory" in names_of_runs:
                found = {of: [each.memory for each in every] for of, every in runs.items()}
                yield from _figures("memory of a worker", "MiB PSS", found, "MiB RSS")


def _found(
    measure: Callable[[str, Program], T], compared: Compared, effort: Effort
) -> dict[str, list[T]]:
    measures = {of: partial(measure, of, program) for of, program in compared.items()}
    if not effort.brief:
        in_turn(1, measures)  # so that all modules are compiled
    return in_turn(effort.few, measures)


def _figures(
    name: str, unit: str, found: Mapping[str, Sequence[Pair]], beside: str
) -> Iterator[Figure]:
    mark = [value for value, _ in found[FASTAPI]]
    for of, every in found.items():
        values = [value for value, _ in every]
        yield Figure(
            name=name,
            of=of,
            unit=unit,
            values=values,
            ratios={} if of == FASTAPI else ratios(values, {FASTAPI: mark}),
            beside=f"{number(median(other for _, other in every))} {beside}",
        )


def _import(of: str, program: Program) -> Pair:
    before = getrusage(RUSAGE_CHILDREN)
    done = subprocess.run(
        [
            program.command[0],
            "-c",
            f"import sys, {MODULES.get(of, 'app.main')}; sys.stderr.write(f'{{len(sys.modules)}}')",
        ],
        cwd=program.place,
        env=dict(program.variables),
        check=True,
        capture_output=True,
        text=True,
    )
    after = getrusage(RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, float(done.stderr.split()[-1])


def _run(_: str, program: Program) -> _Run:
    with program.running() as server:
        seconds = server.first_answer()
        start = server.cpu, seconds
        server.asked(request("/health"), 60, most=REQUESTS)
        rss, pss = server.memory
        return _Run(start, (pss, rss))
