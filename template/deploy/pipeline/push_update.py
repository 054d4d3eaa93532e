#!/usr/bin/env python3
"""Push the commit of an update to its branch, unless others have pushed to that.

    push_update.py REMOTE BRANCH

What is pushed is FETCH_HEAD, in the place of what an earlier update has left there. Conflicts that
people have resolved on the branch would be lost: where it has commits of theirs that are not in
HEAD, nothing is pushed, and this exits with 1 and one line on standard error. Needs the whole
history, git and Python.
"""

from __future__ import annotations

import subprocess
import sys

COMMITTER = "template-update@localhost"
"""Who commits updates: see template_update.py."""


def git(*arguments: str) -> str:
    """Run git and give what it prints; what is wrong it says itself."""
    ran = subprocess.run(  # noqa: S603 - there is no shell
        ["git", *arguments],  # noqa: S607 - that of the pipeline
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    # Not the arguments: the remote's address may have a token.
    return sys.exit("nothing was pushed") if ran.returncode else ran.stdout


def main(remote: str, branch: str) -> None:
    """Look at what is there, and push."""
    commit = git("rev-parse", "FETCH_HEAD").strip()
    there = git("ls-remote", remote, f"refs/heads/{branch}").partition("\t")[0]
    if there:
        git("fetch", "--quiet", "--no-tags", remote, there)
        committers = {*git("log", "--format=%ce", f"HEAD..{there}").splitlines()}
        if others := sorted(committers - {COMMITTER}):
            sys.exit(
                f"nothing was pushed: {branch} has commits of {', '.join(others)}, which would be"
                " lost; merge that branch or delete it"
            )
    lease = f"--force-with-lease=refs/heads/{branch}:{there}"
    git("-c", "core.hooksPath=/dev/null", "push", lease, remote, f"{commit}:refs/heads/{branch}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: push_update.py REMOTE BRANCH")
    main(*sys.argv[1:])
