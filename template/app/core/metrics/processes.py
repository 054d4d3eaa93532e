"""Several processes as one: each writes its figures down, and whoever is asked adds them up."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Metric,
    PlatformCollector,
    ProcessCollector,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Names the directory to prometheus-client, in this process and in those that it starts."""
_BEGAN = "process_start_time_seconds"
_MEMORY = "process_resident_memory_bytes"
_NAME = re.compile(r"(?:counter|histogram|summary|gauge_[a-z]+)_([0-9]+)\.db")


@contextmanager
def counted_together() -> Iterator[None]:
    """Have this process, and those that it starts, write their figures into one new directory."""
    before = os.environ.get(VARIABLE)
    with TemporaryDirectory(prefix="metrics-") as directory:
        _write_into(directory)
        try:
            yield
        finally:
            _write_into(before)


def _write_into(directory: str | None) -> None:
    if directory is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = directory
    # It was chosen when prometheus-client was imported, which may have been before.
    values.ValueClass = values.get_value_class()


def directory() -> Path | None:
    """Where the processes write their figures; None when this one keeps its own."""
    found = os.environ.get(VARIABLE)
    return Path(found) if found else None


def everybody(own: CollectorRegistry) -> CollectorRegistry:
    """Give what all processes have counted, and the figures of these processes themselves.

    Args:
        own: where this process has its instruments.
    """
    found = CollectorRegistry()
    if (place := directory()) is None:
        found.register(own)
        # It has those of the process from the beginning, and those that the service's code makes.
        found.register(REGISTRY)
    else:
        _forget_the_gone(place)
        found.register(Counts(place))
        found.register(Processes(place))
        PlatformCollector(registry=found)
    return found


def _forget_the_gone(place: Path) -> None:
    """Drop the gauges of processes that have ended, also of those that were killed."""
    for process in _processes(place):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            mark_process_dead(process, str(place))
        except PermissionError:
            continue  # it lives, as somebody else


def _processes(place: Path) -> set[int]:
    return set(_files(place).values())


def _files(place: Path) -> dict[Path, int]:
    """Give prometheus-client's own files, with the processes that write them."""
    named = ((file, _NAME.fullmatch(file.name)) for file in place.glob("*.db"))
    return {file: int(name[1]) for file, name in named if name}


class Counts(Collector):
    """What several processes have counted."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def collect(self) -> Iterable[Metric]:
        """Add it up."""
        found: Iterable[Metric] = MultiProcessCollector.merge(map(str, _files(self._place)))
        return found


class Processes(Collector):
    """The figures `process_*` of several processes, added up."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def collect(self) -> Iterable[Metric]:
        """Add the figures up; of the times at which they began give the first.

        Memory that several of them have together counts once, as for the container's limit.
        """
        found: dict[str, Metric] = {}
        for process in _processes(self._place):
            for metric in _figures_of(process):
                if (known := found.setdefault(metric.name, metric)) is not metric:
                    _add(known, metric)
        return found.values()


def _figures_of(process: int) -> list[Metric]:
    with suppress(OSError, ValueError, IndexError):
        found = list(ProcessCollector(pid=lambda: process, registry=None).collect())
        for metric in found:
            if metric.name == _MEMORY and (share := _share_of_memory(process)) is not None:
                metric.samples = [each._replace(value=share) for each in metric.samples]
        return found
    return []  # it has ended meanwhile


def _share_of_memory(process: int) -> float | None:
    """Count what a process shares with others by its part; None where the system does not tell."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text("utf-8").splitlines():
            name, _, size = line.partition(":")
            if name == "Pss":
                return float(size.removesuffix("kB")) * 1024
    return None


def _add(known: Metric, more: Metric) -> None:
    combine: Callable[[float, float], float] = min if known.name == _BEGAN else add
    known.samples = [
        sample._replace(value=combine(sample.value, other.value))
        for sample, other in zip(known.samples, more.samples, strict=True)
    ]
