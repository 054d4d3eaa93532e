"""Take every wire out of a service, one after the other, and name those that no test misses.

`make mutants`, or `make mutants FILES="app/core/web app/core/health.py"` for some files. Which
tests miss each wire is written down in `tests/missed.json`, to be asked first the next time.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.support.answers import Resolver
from tests.support.mutants import (
    RECORD,
    SERVICES,
    Missing,
    Verdict,
    counted,
    recorded,
    service,
    wires_in,
)
from tests.support.render import Renderer
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
        for name, tree in trees.items():
            wires = [wire for wire in wires_in(tree) if _is_asked(wire, files, verdicts)]
            if wires:
                _say(f"{name}: {len(wires)} wires")
                with service(renderer, tree, Path(directory, name)) as missing:
                    verdicts |= _judge(missing, wires)
                _write_down(verdicts.values(), all_of_them)
    survivors = [verdict.wire for verdict in verdicts.values() if not verdict.killed]
    for wire in survivors:
        _say(f"missed by no test: {wire}")
    _say(f"{counted(verdicts.values())}, {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


def _is_asked(wire: Wire, files: Sequence[str], verdicts: Mapping[str, Verdict]) -> bool:
    """Whether a wire is wanted, and no service before has missed it.

    One that is there without effect in a service may have one in another.
    """
    known = verdicts.get(str(wire))
    return wire.path.startswith(tuple(files) or "") and not (known and known.killed)


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
    found = {str(each.wire): each.by.split("::")[0] for each in verdicts if "::" in each.by}
    record = {wire: test for wire, test in {**recorded(), **found}.items() if wire in all_of_them}
    text = json.dumps(dict(sorted(record.items())), indent=1, ensure_ascii=False)
    RECORD.write_text(f"{text}\n", "utf-8")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
