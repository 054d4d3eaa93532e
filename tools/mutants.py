"""Take every wire out of a service, one after the other, and name those that no test misses.

`make mutants`, or `make mutants FILES="app/core/web app/core/health.py"` for some files. Which
tests miss each wire is written down in `tests/missed.json`, to be asked first the next time.
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
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
from tests.support.template import Template
from tests.support.wires import Wire


def main(files: Sequence[str]) -> int:
    """Run all of it; give 1 when a wire is missed by no test."""
    began = time.monotonic()
    template = Template()
    renderer, resolver = Renderer(template), Resolver(template)
    verdicts: list[Verdict] = []
    seen: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="groundwork-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        for name, answers in SERVICES.items():
            tree = renderer.tree(resolver.resolve(answers))
            wires = [wire for wire in wires_in(tree) if str(wire) not in seen]
            seen |= {str(wire) for wire in wires}
            wanted = [wire for wire in wires if not files or wire.path.startswith(tuple(files))]
            if wanted:
                _say(f"{name}: {len(wanted)} wires")
                with service(renderer, tree, Path(directory, name)) as missing:
                    verdicts += _judge(missing, wanted)
    _write_down(verdicts, seen)
    survivors = [verdict.wire for verdict in verdicts if not verdict.killed]
    for wire in survivors:
        _say(f"missed by no test: {wire}")
    _say(f"{counted(verdicts)}, {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


def _judge(missing: Missing, wires: Sequence[Wire]) -> list[Verdict]:
    """Give the verdicts on the wires of a service whose tests are green when it is complete.

    Raises:
        SystemExit: they are not.
    """
    if any(str(wire) not in missing.record for wire in wires):
        status, output = missing.watch()
        if status:
            raise SystemExit(f"the complete service is red already:\n{output}")
    verdicts = []
    for wire in wires:
        verdict = missing.verdict(wire)
        _say(f"{verdict.seconds:6.1f} s  {wire}  {verdict.by or 'MISSED BY NO TEST'}")
        verdicts.append(verdict)
    return verdicts


def _write_down(verdicts: Sequence[Verdict], known: set[str]) -> None:
    found = {str(each.wire): each.by.split("::")[0] for each in verdicts if "::" in each.by}
    record = {wire: test for wire, test in {**recorded(), **found}.items() if wire in known}
    RECORD.write_text(
        json.dumps(dict(sorted(record.items())), indent=1, ensure_ascii=False) + "\n", "utf-8"
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
