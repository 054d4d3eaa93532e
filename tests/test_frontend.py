"""Frontends of rendered services: they check and build themselves, and a browser uses them."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, sleep

import httpx2
import pytest

from tests.support.answers import Resolver
from tests.support.frontends import (
    CORE,
    LOCK,
    browser_program,
    frontend_running,
    run,
    union,
    with_packages,
)
from tests.support.node import NotAvailableError
from tests.support.openid import AUDIENCE, openid_provider
from tests.support.render import Renderer
from tests.support.runs import START_SECONDS, environment, free_port, running
from tests.support.template import Answers, Template

TEMPLATE = Template()
RENDERER = Renderer(TEMPLATE)
RESOLVER = Resolver(TEMPLATE)

FRONTENDS: Mapping[str, Answers] = {
    "open": {"auth": "none"},
    "open alone": {"auth": "none", "examples": False},
    "accounts of tenants": {"auth": "local", "tenancy": True},
    "accounts alone": {"auth": "local", "examples": False},
    "a provider": {"auth": "oidc"},
    "a provider of tenants alone": {"auth": "oidc", "tenancy": True, "examples": False},
    "Supabase": {"auth": "supabase", "tenancy": True},
    "Supabase alone": {"auth": "supabase", "examples": False},
    "Clerk": {"auth": "clerk"},
    "Clerk of tenants alone": {"auth": "clerk", "tenancy": True, "examples": False},
}
"""Each way to sign in, with the sample and without, with tenants and without."""

USED = ("open", "accounts of tenants", "a provider")
"""Those that a browser uses: the providers of others are not to be had here."""

SOMEBODY = "192.0.2.7"
"""The address of somebody before a proxy."""

BUILT = ("Supabase", "Clerk")
"""Others that are built."""


@pytest.fixture
def frontend(request: pytest.FixtureRequest, place: Path) -> Path:
    """Render a service whose API needs no server of its own; give its frontend, with packages."""
    given = {**FRONTENDS[request.param], "frontend": "nextjs", "database": "sqlite"}
    answers = RESOLVER.resolve({**given, "redis": False, "worker": "none"})
    service = RENDERER.write(RENDERER.tree(answers), place / "service")
    try:
        return with_packages(service)
    except NotAvailableError as error:
        pytest.skip(str(error))


@dataclass(frozen=True)
class Served:
    """A frontend and its API.

    Attributes:
        url: where the frontend is.
        log: what the API writes.
    """

    url: str
    log: Path


@contextmanager
def served(frontend: Path, name: str) -> Iterator[Served]:
    """Serve an API, its frontend, and the provider that signs in to both, if there is one."""
    port, api = free_port(), free_port()
    url, log = f"http://127.0.0.1:{port}", frontend.with_name("api.log")
    command = ["sh", "-c", f'exec "{sys.executable}" -m app.core.development > "{log}" 2>&1']
    with ExitStack() as stack:
        known = {}
        if name == "a provider":
            try:
                issuer = stack.enter_context(openid_provider(url)).issuer
            except NotAvailableError as error:
                pytest.skip(str(error))
            known = {"OIDC_ISSUER": issuer, "OIDC_AUDIENCE": AUDIENCE}
        variables = environment(PORT=str(api), AUTH_PAGES_URL=url, **known)
        behind = stack.enter_context(running(command, frontend.parent, api, variables))
        behind.wait_until("/ready")
        known["OIDC_CLIENT_ID"] = "a-frontend"
        stack.enter_context(frontend_running(frontend, port, API_URL=behind.url, **known))
        yield Served(url, log)


@pytest.mark.parametrize(
    ("name", "frontend"),
    [(name, name) for name in FRONTENDS],
    indirect=["frontend"],
    ids=FRONTENDS,
)
def test_a_frontend_checks_itself_and_is_used(name: str, frontend: Path) -> None:
    if name not in (*USED, *BUILT):
        for script in ("lint", "typecheck", "test"):
            run(frontend, "npm", "run", script)
        return
    run(frontend.parent, "make", "frontend-check")
    assert not list(frontend.glob(".next/static/**/*.map"))
    if name in BUILT:
        return
    assert_refuses_to_start_without_an_api(frontend)
    browser = browser_program()
    if browser is None:
        pytest.skip("no Chromium on this machine")
    with served(frontend, name) as there:
        said = run(
            *(frontend.parent, "make", "frontend-e2e"),
            E2E_BASE_URL=there.url,
            E2E_API_LOG=str(there.log),
            E2E_USER="ada",
            E2E_PASSWORD="any",  # noqa: S106 - the provider takes each
            CHROMIUM=browser,
        )
        assert re.search(r"\d+ passed", said)
        assert not re.search(r"[1-9]\d* (skipped|flaky)", said), said
        policy = httpx2.get(there.url, timeout=60).headers["content-security-policy"]
        assert "'unsafe-inline'" not in policy
        if name == "open":
            somebody = {"X-Forwarded-For": SOMEBODY}
            httpx2.get(f"{there.url}/projects", headers=somebody, timeout=60)
            wait_until(lambda: SOMEBODY in there.log.read_text("utf-8"), there.log.read_text)
        assert "Traceback" not in there.log.read_text("utf-8")


def assert_refuses_to_start_without_an_api(frontend: Path) -> None:
    """It would be ready, and fail with every page."""
    ran = subprocess.run(
        ["node", "server.js"],
        cwd=frontend / ".next/standalone",
        env=environment(NODE_ENV="production", HOSTNAME="127.0.0.1", PORT=str(free_port())),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=START_SECONDS,
    )
    assert ran.returncode == 1, ran.stdout
    assert "API_URL is not set. Set it, for example API_URL=http" in ran.stdout


NODE = """\
#!/bin/sh
exec "{node}" --eval "Object.defineProperty(process.versions, 'node', {{value: '{version}'}}); $2"
"""
"""Node.js as if it were of another version."""

NPM = """\
#!/bin/sh
echo "$@" >> npm-was-asked
mkdir -p node_modules
"""
"""Stands in for npm, which would ask the registry."""


@pytest.mark.parametrize(
    ("version", "variables", "asked"),
    [
        ("18.20.8", {}, ""),
        ("20.18.3", {}, ""),
        ("20.19.0", {}, "install --no-audit --no-fund"),
        ("24.2.0", {"CI": "true"}, "ci --no-audit --no-fund"),
    ],
)
def test_make_installs_the_packages(
    version: str, variables: dict[str, str], asked: str, tmp_path: Path
) -> None:
    """Where there are none yet, and where Node.js is new enough."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine")
    answers = RESOLVER.resolve({"frontend": "nextjs"})
    service = RENDERER.write(RENDERER.tree(answers), tmp_path / "service")
    (service / "frontend/package-lock.json").write_text("{}", "utf-8")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"node": NODE.format(node=node, version=version), "npm": NPM}.items():
        (programs / name).write_text(text, "utf-8")
        (programs / name).chmod(0o755)
    path = {"PATH": f"{programs}:/usr/bin:/bin"}
    ran = subprocess.run(
        ["make", "frontend/node_modules/.ready"],
        cwd=service,
        env=environment(**path, **variables),
        check=False,
        capture_output=True,
        text=True,
    )
    said = service / "frontend/npm-was-asked"
    assert (ran.returncode == 0) == bool(asked), ran.stderr
    assert (said.read_text("utf-8").strip() if said.exists() else "") == asked
    assert ("Node.js 20.19 or later is needed" in ran.stderr) != bool(asked)


@pytest.mark.parametrize("frontend", ["open"], indirect=True)
def test_a_page_that_no_longer_fits_the_api_is_seen(frontend: Path) -> None:
    schema = frontend / "src/api/schema.d.ts"
    text = schema.read_text("utf-8")
    schema.write_text(text.replace("/api/v1/projects", "/api/v1/undertakings"), "utf-8")
    with pytest.raises(AssertionError, match="src/app/projects/"):
        run(frontend, "npm", "run", "typecheck")


@pytest.mark.parametrize("frontend", ["open"], indirect=True)
def test_make_serves_it_with_hot_reload(frontend: Path) -> None:
    service, api, port = frontend.parent, free_port(), free_port()
    started = ["make", "dev", f"PORT={api}"]
    with running(started, service, api, environment()) as behind:
        behind.wait_until("/ready")
        started = ["make", "frontend", f"PORT={api}", f"WEB_PORT={port}"]
        with running(started, service, port, environment()) as server:
            server.wait_until("/health")
            said = partial("\n".join, server.output)
            wait_until(lambda: "It is ready." in server.get("/", seconds=300).text, said)
            page = frontend / "src/app/page.tsx"
            page.write_text(
                page.read_text("utf-8").replace("It is ready.", "All is well."), "utf-8"
            )
            wait_until(lambda: "All is well." in server.get("/", seconds=300).text, said)


def wait_until(happens: Callable[[], bool], said: Callable[[], str]) -> None:
    """Wait for something; when it does not happen, show what was said meanwhile."""
    end = monotonic() + START_SECONDS
    while not happens():
        assert monotonic() < end, said()
        sleep(0.2)


SCRIPTS = (".css", ".mjs", ".mts", ".ts", ".tsx")
IMPORTED = re.compile(
    r"""^(?:import|export|\} from|@import)\b(?:[^"';]*?from)?\s*["']([^"']+)["']""", re.MULTILINE
)
"""The module that a statement imports."""


NAMED_OTHERWISE = {
    "@tailwindcss/postcss",
    "@types/node",
    "@types/react",
    "@types/react-dom",
    "eslint",
    "openapi-typescript",
    "prettier",
    "react-dom",
    "typescript",
}
"""Packages that are run, or read by others, instead of being imported."""

OF_NEXT = {"server-only"}
"""What Next.js brings, without a package of that name."""


@pytest.mark.parametrize("name", FRONTENDS)
def test_each_package_is_declared_and_used(name: str) -> None:
    """By the package of this very frontend: the tests install what any of them needs."""
    answers = RESOLVER.resolve({**FRONTENDS[name], "frontend": "nextjs"})
    tree = RENDERER.tree(answers)
    own = json.loads(tree[f"frontend/{CORE}"])
    declared = own["dependencies"].keys() | own["devDependencies"].keys()
    imported = {
        package_of(module)
        for path, content in tree.items()
        if path.startswith("frontend/") and path.endswith(SCRIPTS)
        for module in IMPORTED.findall(content.decode())
        if not module.startswith((".", "@/", "@core/", "node:"))
    }
    assert imported - OF_NEXT - declared == set()
    assert declared - imported - NAMED_OTHERWISE == set()


def package_of(module: str) -> str:
    """Name the package that a module belongs to."""
    parts = module.split("/")
    return "/".join(parts[: 2 if module.startswith("@") else 1])


def test_the_lock_is_of_these_dependencies() -> None:
    """Otherwise nothing could be installed: `npm ci` refuses it."""
    locked = json.loads(LOCK.read_text("utf-8"))["packages"]["core"]
    wanted = json.loads(union(TEMPLATE)[CORE])
    for kind in ("dependencies", "devDependencies"):
        assert locked[kind] == wanted[kind], "make lock"
    assert "://registry" not in LOCK.read_text("utf-8")
