"""Take every wire out of a service, one after the other, and name those that no test misses.

`make mutants`, or `make mutants FILES="app/core/web app/core/health.py"` for some files. Which
tests miss each wire, or that the types do, is written down in `tests/missed.json`, to be asked
first the next time.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.support.answers import Resolver
from tests.support.mutants import (
    RECORD,
    SERVICES,
    TYPES,
    Missing,
    Verdict,
    counted,
    recorded,
    service,
    wires_in,
)
from tests.support.render import Renderer, Tree
from tests.support.runs import mariadb_program, redis_program, vault_program
from tests.support.template import Template
from tests.support.wires import Wire

FEW = 20
"""As many wires are tried without watching first, for minutes, which tests run which lines."""

PROGRAMS = {"redis-server": redis_program, "vault": vault_program, "mariadbd": mariadb_program}


def main(files: Sequence[str]) -> int:
    """Run all of it; give 1 when a wire is missed by no test."""
    began = time.monotonic()
    if absent := [name for name, find in PROGRAMS.items() if not find()]:
        _say(f"not on this machine: {', '.join(absent)}; no test can miss what needs them")
    renderer = Renderer(Template())
    resolver = Resolver(renderer.template)
    trees = {name: renderer.tree(resolver.resolve(given)) for name, given in SERVICES.items()}
    all_of_them = {str(wire) for tree in trees.values() for wire in wires_in(tree)}
    verdicts: dict[str, Verdict] = {}
    with tempfile.TemporaryDirectory(prefix="groundwork-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        for name, wanted in _by_service(trees, files):
            wires = [wire for wire in wanted if not _is_missed(wire, verdicts)]
            if wires:
                _say(f"{name}: {len(wires)} wires")
                with service(renderer, trees[name], Path(directory, name)) as missing:
                    verdicts |= _judge(missing, wires)
                _write_down(verdicts.values(), all_of_them)
    survivors = [verdict.wire for verdict in verdicts.values() if not verdict.killed]
    for wire in survivors:
        _say(f"missed by no test: {wire}")
    _say(f"{counted(verdicts.values())}, {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


def _by_service(
    trees: Mapping[str, Tree], files: Sequence[str]
) -> Iterator[tuple[str, Sequence[Wire]]]:
    """Give the wires that are wanted of each service.

    One that a test of a later service is known to miss waits for that: here it would take minutes
    to learn that all tests pass.
    """
    record = recorded()
    wires = {name: list(wires_in(tree)) for name, tree in trees.items()}
    first: dict[str, str] = {}
    for name, tree in trees.items():
        for wire in wires[name]:
            if record.get(str(wire)) in tree:
                first.setdefault(str(wire), name)
    reached = set()
    for name in trees:
        reached.add(name)
        wanted = [wire for wire in wires[name] if wire.path.startswith(tuple(files) or "")]
        yield name, [wire for wire in wanted if first.get(str(wire), name) in reached]


def _is_missed(wire: Wire, verdicts: Mapping[str, Verdict]) -> bool:
    """Whether a service before has missed it.

    One that is there without effect in a service may have one in another.
    """
    known = verdicts.get(str(wire))
    return known is not None and known.killed


def _judge(missing: Missing, wires: Sequence[Wire]) -> dict[str, Verdict]:
    """Give the verdicts on the wires of a service.

    Raises:
        SystemExit: its tests are red when it is complete, which is seen where there are many.
    """
    if sum(str(wire) not in missing.record for wire in wires) > FEW:
        status, output = missing.watch()
        if status:
            raise SystemExit(f"the complete service is red already:\n{output}")
    verdicts = {}
    for wire in wires:
        verdicts[str(wire)] = verdict = missing.verdict(wire)
        _say(f"{verdict.seconds:6.1f} s  {wire}  {verdict.by or 'MISSED BY NO TEST'}")
    return verdicts


def _write_down(verdicts: Iterable[Verdict], all_of_them: set[str]) -> None:
    by = {str(each.wire): each.by.split("::")[0] for each in verdicts if each.killed}
    found = {wire: test for wire, test in by.items() if test == TYPES or test.startswith("tests/")}
    record = {wire: test for wire, test in {**recorded(), **found}.items() if wire in all_of_them}
    text = json.dumps(dict(sorted(record.items())), indent=1, ensure_ascii=False)
    RECORD.write_text(f"{text}\n", "utf-8")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
