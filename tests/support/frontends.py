"""The frontend of a rendered service: its packages, its commands, and a browser that uses it."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.answers import Resolver
from tests.support.node import installed
from tests.support.render import Renderer
from tests.support.runs import Running, environment, running, with_own_programs
from tests.support.template import ROOT, Template

LOCK = ROOT / "tests/support/frontend/package-lock.json"
"""Pins what the frontends of all services depend on; `make lock` renews it."""

LOCKED = "package-lock.json"
OWN = "package.json"
CORE = "core/package.json"
COMMAND_SECONDS = 1800


def projects(template: Template) -> Iterator[dict[str, dict[str, str]]]:
    """Give what the foundation's package asks for, for each way to sign in."""
    renderer, resolver = Renderer(template), Resolver(template)
    for auth in template.questions["auth"].choices:
        answers = resolver.resolve({"frontend": "nextjs", "auth": auth})
        yield json.loads(renderer.content(f"frontend/{CORE}", answers))


def union(template: Template) -> dict[str, str]:
    """Give the files of a project that needs what the frontends of all services need."""
    whole, *others = projects(template)
    for other in others:
        for kind in ("dependencies", "devDependencies"):
            whole[kind] |= other[kind]
    return {OWN: template.read(f"frontend/{OWN}"), CORE: json.dumps(whole, indent=2)}


def with_packages(service: Path) -> Path:
    """Give the frontend of a service its packages and the types of its API.

    Returns:
        Its directory.

    Raises:
        NotAvailableError: Node.js is missing, or the packages cannot be had.
    """
    frontend = service / "frontend"
    files = {**union(Template()), LOCKED: LOCK.read_text("utf-8")}
    packages = installed("frontend", files)
    # Of links: there are some thirty thousand files, and nobody changes them.
    subprocess.run(
        ["cp", "--archive", "--link", packages / "node_modules", frontend / "node_modules"],
        check=True,
    )
    (frontend / "node_modules/.ready").touch()
    run(with_own_programs(service), "make", "frontend-types")
    return frontend


def run(directory: Path, *command: str, **variables: str) -> str:
    """Run a command of a service or of its frontend.

    Raises:
        AssertionError: it failed; with all that it said.
    """
    ran = subprocess.run(
        command,
        cwd=directory,
        env=environment(NEXT_TELEMETRY_DISABLED="1", **variables),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_SECONDS,
    )
    assert ran.returncode == 0, f"{' '.join(command)}\n{ran.stdout}{_seen(directory)}"
    return ran.stdout


def _seen(directory: Path) -> str:
    """What the pages were on which a browser waited in vain."""
    pages = sorted(directory.glob("frontend/test-results/*/error-context.md"))
    return "".join(f"\n{page.read_text('utf-8')}" for page in pages)


def browser_program() -> str | None:
    """Find Chromium."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium")


@contextmanager
def frontend_running(frontend: Path, port: int, **variables: str) -> Iterator[Running]:
    """Serve a frontend that was built, as its image does, until the block is left."""
    made = frontend / ".next/standalone"
    for part in (".next/static", "public"):
        shutil.copytree(frontend / part, made / part, dirs_exist_ok=True)
    values: Mapping[str, str] = {
        "NODE_ENV": "production",
        "HOSTNAME": "127.0.0.1",
        "PORT": str(port),
        "FRONTEND_URL": f"http://127.0.0.1:{port}",
        **variables,
    }
    with running(["node", "server.js"], made, port, environment(**values)) as server:
        server.wait_until("/health")
        yield server
