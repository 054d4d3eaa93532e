"""The service and the bare programs beside it: what they take to start, and what requests cost."""

from collections.abc import Iterator, Sequence

from benchmarks import requests, starting
from benchmarks.figures import Effort, Figure
from benchmarks.programs import programs

NAMES = (*starting.NAMES, *requests.NAMES)


def measure(names: Sequence[str], effort: Effort) -> Iterator[Figure]:
    """Measure some of both, on one database."""
    # Everything that a request meets is on, but no Redis: it would be asked, and measured.
    with programs(auth="oidc", redis=False, monitoring=True) as made:
        if of_start := [name for name in names if name in starting.NAMES]:
            yield from starting.measure(of_start, effort, made)
        if of_requests := [name for name in names if name in requests.NAMES]:
            yield from requests.measure(of_requests, effort, made)
