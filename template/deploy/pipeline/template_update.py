#!/usr/bin/env python3
"""Bring the newest version of the template in, run all checks, and commit the result with a report.

    template_update.py REPORT.md

Run in a clone without changes. Prints `changed=true` and `version=…`, or `changed=false` when there
is nothing new; the report says what was in conflict and how the checks went. Whether they passed is
for a person to judge, so this exits with 0 either way, and with 1 when the update itself is not
possible. Needs git, make and Python.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ANSWERS = Path(".copier-answers.yml")
SHOWN_LINES = 60
AUTHOR = ("-c", "user.name=template-update", "-c", "user.email=template-update@localhost")


def run(*command: str) -> tuple[bool, str]:
    """Run a command; whether it succeeded, and what it printed."""
    ran = subprocess.run(  # noqa: S603 - no part of a command comes from outside
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return ran.returncode == 0, ran.stdout


def git(*arguments: str) -> str:
    """Run git and give what it prints."""
    succeeded, output = run("git", *arguments)
    if not succeeded:
        sys.exit(f"git {arguments[0]}: {output}")
    return output


def answer(name: str) -> str:
    """Give what Copier has noted: `_commit` is the template's version, `_src_path` its address."""
    found = re.search(rf"^{name}: *['\"]?(.+?)['\"]? *$", ANSWERS.read_text("utf-8"), re.MULTILINE)
    return found[1] if found else "unknown"


def conflicts() -> list[str]:
    """List the files in which the update and the service's own changes meet."""
    found, marked = run("git", "grep", "--name-only", "--extended-regexp", "^(<{7}|>{7})( |$)")
    return sorted(marked.splitlines()) if found else []


def report(before: str, conflicting: list[str], runs: dict[str, tuple[bool, str]]) -> str:
    """Write down how it went."""
    rows = [f"| conflicts | {', '.join(f'`{path}`' for path in conflicting) or 'none'} |"]
    rows += [
        f"| `make {name}` | {'passed' if ok else '**failed**'} |" for name, (ok, _) in runs.items()
    ]
    lines = [
        f"The foundation goes from `{before}` to `{answer('_commit')}`.",
        f"What that changes: `CHANGELOG.md` of the template, `{answer('_src_path')}`.",
        "",
        "| | |",
        "|---|---|",
        *rows,
    ]
    if conflicting:
        lines += ["", "Resolve the conflicts on this branch before it is merged."]
    for name, (_, output) in runs.items():
        shown = "\n".join(output.splitlines()[-SHOWN_LINES:]).replace("```", "'''")
        lines += ["", f"<details><summary>The end of <code>make {name}</code></summary>", ""]
        lines += ["```text", shown, "```", "", "</details>"]
    return "\n".join(lines) + "\n"


def refuse_a_template_of_another_machine() -> None:
    """End where the template is a directory that is not here, as `make service` notes its own."""
    source = answer("_src_path")
    if Path(source).is_absolute() and not Path(source).exists():
        sys.exit(
            f"{ANSWERS} names a directory of another machine, {source}: write the address of the"
            " template's repository into _src_path, and commit that"
        )


def main(path: Path) -> None:
    """Update, check, commit and report."""
    if git("status", "--porcelain"):
        sys.exit("there are changes that are not committed")
    refuse_a_template_of_another_machine()
    before = answer("_commit")
    updated, output = run("make", "update")
    sys.stderr.write(output)
    if not updated:
        sys.exit("the update is not possible: see above")
    if not git("status", "--porcelain"):
        sys.stdout.write("changed=false\n")
        return
    if not re.fullmatch(r"[\w.+-]+", answer("_commit"), re.ASCII):
        sys.exit(f"{ANSWERS} names no version: {answer('_commit')!r}")
    git("add", "--all")
    conflicting = conflicts()
    # In CI both keep to a lock file, which an update is to renew.
    runs = {"install": run("make", "install", "CI=")}
    if Path("frontend/package.json").exists():
        runs["frontend-types"] = run("make", "frontend-types", "CI=")
    runs["check"] = run("make", "check")
    path.write_text(report(before, conflicting, runs), "utf-8")
    git("add", "--all")
    git(*AUTHOR, "commit", "--quiet", "--message", f"Update the foundation to {answer('_commit')}")
    sys.stdout.write(f"changed=true\nversion={answer('_commit')}\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: template_update.py REPORT.md")
    main(Path(sys.argv[1]))
