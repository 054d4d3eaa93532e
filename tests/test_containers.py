"""Rendered services in real containers: built, started by Compose, asked over HTTP, stopped.

Without an engine, or without a base image and a registry to pull it from, these tests are skipped
and say which of the two it was.
"""

import json
import os
import random
import re
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from docker.errors import APIError, ImageNotFound
from docker.models.containers import Container
from requests.exceptions import RequestException

import docker
from tests.support.answers import Resolver
from tests.support.figures import Figure
from tests.support.kubernetes import kustomize
from tests.support.render import Renderer
from tests.support.runs import claim_port, python, vault_program
from tests.support.template import Template

TEMPLATE = Template()
RENDERER = Renderer(TEMPLATE)
RESOLVER = Resolver(TEMPLATE)

FLAVOURS: Mapping[str, Mapping[str, Any]] = {
    "postgresql": {"database": "postgresql", "python_version": "3.13"},
    "mysql": {"database": "mysql", "python_version": "3.12"},
    "sqlite": {"database": "sqlite", "python_version": "3.11"},
    "dual": {"database": "postgresql", "databases": "dual", "python_version": "3.13"},
}
"""The answers of each stack; three Python versions, so that each image is built once."""

STACKS: Mapping[str, Mapping[str, Any]] = {
    **{preset: {"preset": preset} for preset in TEMPLATE.questions["preset"].choices},
    "minimal": {"preset": "minimal", "python_version": "3.11"},
    "mysql": FLAVOURS["mysql"],
}
"""All presets, and the database that none of them has."""

USER = 10001
PATIENCE = 300.0
"""Seconds after which something that should happen is taken as never happening."""

LARGEST_IMAGE = 250_000_000
"""Bytes of an image with its base (the official python:3.13-slim has some 125 million of them)."""

LARGEST_FRONTEND = 400_000_000
"""Bytes of the image of a frontend with its base (node:22-slim has some 230 million of them)."""

BUILD_CACHE = 3_000_000_000
"""Bytes that the engine may keep of earlier builds, which hold the layers of each service."""

API_READY = "It is ready."
"""What the first page of a frontend says when it reaches the API."""

VAULT_IMAGE = """\
FROM debian:13-slim
COPY vault /bin/vault
ENTRYPOINT ["vault"]
"""
"""Stands in for the public image, where that is neither here nor can be pulled."""

TERMINATED = {0, 128 + signal.SIGTERM}
"""Exit codes of a process that ended because it was told to, of itself or by the signal."""


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    """Reach the engine, or skip and say why."""
    if not shutil.which("docker"):
        pytest.skip("no docker client")
    asked = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        pytest.skip(f"no container engine answers: {asked.stderr.strip()}")
    client = docker.from_env(timeout=600)
    yield client
    client.close()


@dataclass
class Stack:
    """One rendered service under a Compose project of its own.

    Attributes:
        directory: where it is rendered.
        answers: what it was rendered with.
        files: the Compose files, if not those that Compose finds by itself.
    """

    engine: docker.DockerClient
    directory: Path
    answers: Mapping[str, Any]
    files: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The address at which Compose publishes the API on this machine."""
        return f"http://127.0.0.1:{self.answers['ports']['api']}"

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a Compose command.

        Raises:
            AssertionError: it fails, and `check` is not off; with its output and the logs.
        """
        files = [part for file in self.files for part in ("--file", file)]
        ran = subprocess.run(
            ["docker", "compose", *files, *arguments],
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and ran.returncode != 0:
            logs = self.compose("logs", "--no-color", "--tail=40", check=False).stdout
            pytest.fail(f"compose {' '.join(arguments)}\n{ran.stdout}{ran.stderr}\n{logs}")
        return ran

    def container(self, service: str) -> Container:
        """Find the container of a service, running or not."""
        project = self.answers["project_slug"]
        labels = [
            f"com.docker.compose.project={project}",
            f"com.docker.compose.service={service}",
            "com.docker.compose.oneoff=False",
        ]
        [found] = self.engine.containers.list(all=True, filters={"label": labels})
        return found

    def get(self, path: str) -> httpx2.Response:
        """Ask the API as it is published on this machine."""
        return httpx2.get(f"{self.url}{path}", timeout=60)

    def remove(self) -> None:
        """Leave nothing behind: no container, network, volume or image."""
        down = ("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout=1")
        self.compose(*down, check=False)
        for suffix in (":local", ":dev", "-frontend:local"):
            name = f"{self.answers['project_slug']}{suffix}"
            try:
                self.engine.images.remove(name, force=True)
            except ImageNotFound:
                continue
        self.engine.api.prune_builds(keep_storage=BUILD_CACHE)


@contextmanager
def rendered(
    engine: docker.DockerClient,
    directory: Path,
    name: str,
    files: tuple[str, ...] = (),
    **answered: Any,
) -> Iterator[Stack]:
    """Render a service with a name and ports that nobody else uses; take it down afterwards."""
    given = {
        **(FLAVOURS.get(name) or STACKS[name]),
        **answered,
        "project_slug": f"test-{name}-{uuid.uuid4().hex[:8]}",
        "port_base": free_port_base(),
    }
    answers = RESOLVER.resolve(given)
    RENDERER.write(RENDERER.tree(answers), directory)
    need_base_images(engine, directory, answers)
    stack = Stack(engine, directory, answers, files)
    try:
        yield stack
    finally:
        stack.remove()


def free_port_base() -> int:
    """Find a `port_base` whose ports are free on this machine.

    They are below those that the system gives to whoever asks for any, and above those of other
    tests.
    """
    for base in random.sample(range(26_000, 32_000, 100), 60):
        with suppress(OSError):
            claim_port(base)  # until this process ends: the stack takes them much later
            if all(is_free(base + each) for each in (0, 10, 20, 21, 30, 40, *range(50, 60))):
                return base
    raise RuntimeError("no free ports")


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def need_base_images(
    engine: docker.DockerClient, directory: Path, answers: Mapping[str, Any]
) -> None:
    """Skip, and name the image, when one is neither here nor can be pulled."""
    names: set[str] = set()
    for path in directory.glob("docker/Dockerfile*"):
        dockerfile = path.read_text("utf-8")
        arguments = dict(re.findall(r"^ARG (\w+)=(.+)$", dockerfile, re.MULTILINE))
        names |= {
            string.Template(name).substitute(arguments)
            for name in re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
        }
    for file in ("postgresql", "mysql", "redis"):
        path = directory / f"docker/compose/{file}.yml"
        services = yaml.safe_load(path.read_text("utf-8"))["services"] if path.exists() else {}
        names |= {service["image"] for service in services.values() if "image" in service}
    for name in names:
        need_image(engine, name)


def need_image(engine: docker.DockerClient, name: str) -> None:
    """Skip, and name the image, when it is neither here nor can be pulled."""
    if not has_image(engine, name):
        pytest.skip(f"base image {name} is not here and cannot be pulled")


def wait_until(happens: Callable[[], object], what: str) -> None:
    """Look until something has happened.

    Raises:
        AssertionError: it has not within `PATIENCE`.
    """
    deadline = time.monotonic() + PATIENCE
    while not happens():
        assert time.monotonic() < deadline, f"{what} never happened"
        time.sleep(0.2)


def output_of(container: Container, *command: str) -> str:
    """Run a command in a container and read what it prints."""
    return decoded(container.exec_run(list(command)).output)


def logs_of(container: Container) -> str:
    """Read all that a container has printed."""
    return decoded(container.logs())


def decoded(output: bytes | Iterator[bytes]) -> str:
    """Decode what the engine's client gives as bytes when it is not asked for a stream."""
    assert isinstance(output, bytes)
    return output.decode()


def exit_code(container: Container) -> int:
    """Wait for the end of a container."""
    return int(container.wait(timeout=PATIENCE)["StatusCode"])


@pytest.mark.parametrize("name", STACKS)
def test_compose_starts_a_service_that_keeps_its_data(
    name: str, engine: docker.DockerClient, tmp_path: Path, figure: Figure
) -> None:
    with rendered(engine, tmp_path, name) as stack, with_vault(stack):
        if name == "standard":
            lock_dependencies(tmp_path)
        begun = time.monotonic()
        stack.compose("build")
        built = time.monotonic()
        stack.compose("up", "--wait", f"--wait-timeout={PATIENCE:.0f}")
        size = engine.images.get(f"{stack.answers['project_slug']}:local").attrs["Size"]
        figure(
            f"{name}: image of {size / 1e6:.0f} MB, built in {built - begun:.0f} s,"
            f" ready in {time.monotonic() - built:.0f} s"
        )
        assert size < LARGEST_IMAGE
        for path in ("/health", "/ready", "/openapi.json"):
            assert stack.get(path).status_code == 200, path
        assert exit_code(stack.container("migrate")) == 0
        assert_confined(stack.container("api"))
        if stack.answers["frontend"] != "none":
            assert_has_frontend(stack, figure)
        made = httpx2.post(f"{stack.url}/api/v1/projects", json={"name": "Kept"}, timeout=60)
        if stack.answers["auth"] != "none":
            assert made.status_code == 401
        else:
            assert made.status_code == 201, made.text
            assert_keeps(stack, f"/api/v1/projects/{made.json()['id']}")
        if stack.answers["databases"] == "dual":
            with save_and_restore(stack):
                pass
            assert stack.get("/ready").status_code == 200
        assert_stops_when_told(stack.container("api"))


def assert_has_frontend(stack: Stack, figure: Figure) -> None:
    """It is served beside the API, which it reaches, and has as few rights."""
    assert_confined(stack.container("frontend"))
    slug = stack.answers["project_slug"]
    size = stack.engine.images.get(f"{slug}-frontend:local").attrs["Size"]
    figure(f"image of the frontend: {size / 1e6:.0f} MB")
    assert size < LARGEST_FRONTEND
    url = f"http://127.0.0.1:{stack.answers['ports']['frontend']}"
    lives = httpx2.get(f"{url}/health", timeout=60)
    assert lives.json() == {"status": "ok"}
    # Longer than load balancers keep a connection on which nothing happens.
    assert lives.headers["Keep-Alive"] == "timeout=75"
    page = httpx2.get(url, timeout=60, follow_redirects=True)
    assert page.status_code == 200
    assert API_READY in page.text
    network = stack.engine.networks.get(f"{slug}_frontend").attrs["IPAM"]["Config"][0]["Subnet"]
    environment = stack.container("api").attrs["Config"]["Env"]
    assert f"FORWARDED_ALLOW_IPS=127.0.0.1,{network}" in environment
    assert stack.container("frontend").id not in {
        each.id for each in stack.engine.networks.get(f"{slug}_back").containers
    }


def assert_keeps(stack: Stack, path: str) -> None:
    """What was made outlives the containers, and comes back from a backup when it is lost."""
    stack.compose("down")
    stack.compose("up", "--wait", f"--wait-timeout={PATIENCE:.0f}")
    kept = stack.get(path)
    assert (kept.status_code, kept.json()["name"]) == (200, "Kept")

    with save_and_restore(stack):
        assert httpx2.delete(f"{stack.url}{path}", timeout=60).status_code == 204
        assert stack.get(path).status_code == 404
    assert stack.get(path).json() == kept.json()


@contextmanager
def save_and_restore(stack: Stack) -> Iterator[None]:
    """Save the databases, let something happen to them, and restore them."""
    backup(stack, "save", "kept")
    yield
    stack.compose("stop", "api", *(["worker"] if stack.answers["worker"] != "none" else []))
    backup(stack, "restore", "kept", "--replace")
    stack.compose("up", "--wait", f"--wait-timeout={PATIENCE:.0f}")


def backup(stack: Stack, *arguments: str) -> None:
    """Save or restore the databases of a stack, as `make backup compose=1` does."""
    python(stack.directory, "-m", "app.core.backup", *arguments, "--compose")


@contextmanager
def with_vault(stack: Stack) -> Iterator[None]:
    """Have a Vault start with the rest, as is told, if the service has one."""
    if not stack.answers["vault"]:
        yield
        return
    with vault_image(stack):
        told = (stack.directory / "docker/README.md").read_text("utf-8")
        _, _, rest = told.partition("## Vault\n")
        variables = rest.partition("```ini\n")[2].partition("```")[0]
        (stack.directory / ".env").write_text(variables, "utf-8")
        yield


@contextmanager
def vault_image(stack: Stack) -> Iterator[None]:
    """Have Vault's image while it is needed."""
    compose = yaml.safe_load((stack.directory / "docker/compose/vault.yml").read_text("utf-8"))
    name = compose["services"]["vault"]["image"]
    if has_image(stack.engine, name):
        yield
        return
    program = vault_program()
    if program is None or not has_image(stack.engine, "debian:13-slim"):
        pytest.skip(f"base image {name} is not here, cannot be pulled and cannot be made")
    context = stack.directory / "vault-image"
    context.mkdir()
    (context / "Dockerfile").write_text(VAULT_IMAGE, "utf-8")
    shutil.copy(program, context / "vault")
    subprocess.run(["docker", "build", "--quiet", "--tag", name, context], check=True)
    shutil.rmtree(context)
    try:
        yield
    finally:
        stack.compose("rm", "--force", "--stop", "vault")
        stack.engine.images.remove(name)


def has_image(engine: docker.DockerClient, name: str) -> bool:
    """Whether an image is here, or can be pulled."""
    try:
        engine.images.get(name)
    except ImageNotFound:
        try:
            engine.images.pull(name)
        except (APIError, RequestException):
            return False
    return True


def lock_dependencies(directory: Path) -> None:
    """Write uv.lock, as `make install` does: the build then takes it or fails."""
    uv = Path(sys.executable).with_name("uv")
    subprocess.run(
        [uv, "lock", "--quiet", "--python", sys.executable],
        cwd=directory,
        env={**os.environ, "UV_PYTHON_DOWNLOADS": "never"},
        check=True,
    )


def assert_confined(container: Container) -> None:
    """Compose gives the service no right that it does not need."""
    host = container.attrs["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    status = output_of(container, "cat", "/proc/self/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(fields["Uid"].split()) == {str(USER)}
    assert int(fields["CapEff"], 16) == 0
    written = container.exec_run(["touch", "/srv/app/written"])
    assert written.exit_code != 0


def assert_stops_when_told(container: Container) -> None:
    """SIGTERM is enough, and is answered by an orderly shutdown."""
    container.kill("SIGTERM")
    assert exit_code(container) in TERMINATED
    assert not re.search("Traceback|CancelledError", logs_of(container))


def test_image_runs_alone_without_rights(
    engine: docker.DockerClient, tmp_path: Path, figure: Figure
) -> None:
    with rendered(engine, tmp_path, "postgresql") as stack:
        stack.compose("build")
        image = engine.images.get(f"{stack.answers['project_slug']}:local")
        base = engine.images.get(f"python:{stack.answers['python_version']}-slim")
        size, own = image.attrs["Size"], image.attrs["Size"] - base.attrs["Size"]
        figure(f"image: {size / 1e6:.0f} MB, of which {own / 1e6:.0f} MB above its base")
        assert size < LARGEST_IMAGE
        assert image.attrs["Config"]["User"].split(":")[0] == str(USER)
        version = image.labels["org.opencontainers.image.version"]
        assert f"APP_VERSION={version}" in image.attrs["Config"]["Env"]

        container = engine.containers.run(
            image,
            detach=True,
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            user=str(USER),
            environment={
                "ENVIRONMENT": "development",
                "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nothing",
            },
        )
        try:
            wait_until(lambda: health_of(container) == "healthy", "a healthy container")
            check = ["python", "/usr/local/lib/healthcheck.py", "/ready"]
            wait_until(
                lambda: container.exec_run(check) == (1, b"/ready answered 503\n"),
                "a check that sees that it is not ready",
            )
            assert_stops_when_told(container)
        finally:
            container.remove(force=True)


def test_image_for_render_reads_its_secret_files(
    engine: docker.DockerClient, tmp_path: Path
) -> None:
    """On Render they belong to root and group 1000, and nobody else may read them."""
    with rendered(engine, tmp_path, "sqlite", deploy="render") as stack:
        stack.compose("build")
        image = f"{stack.answers['project_slug']}:local"
        script = """\
        mkdir --mode=755 /etc/secrets && echo key > /etc/secrets/master.key &&
        chown root:1000 /etc/secrets/master.key && chmod 640 /etc/secrets/master.key &&
        exec setpriv --reuid={0} --regid={0} --init-groups cat /etc/secrets/master.key"""
        command = ["sh", "-c", script.format(USER)]
        assert engine.containers.run(image, command, user="root", remove=True) == b"key\n"
        groups = engine.containers.run(image, ["id", "--groups"], remove=True)
        assert set(groups.split()) == {str(USER).encode(), b"1000"}


def health_of(container: Container) -> str:
    """What the engine's own health check of the image says."""
    container.reload()
    state = container.attrs["State"]
    assert state["Running"], logs_of(container)
    return str(state["Health"]["Status"])


def test_image_without_configuration_refuses_to_start(
    engine: docker.DockerClient, tmp_path: Path
) -> None:
    with rendered(engine, tmp_path, "sqlite") as stack:
        stack.compose("build")
        container = engine.containers.run(
            f"{stack.answers['project_slug']}:local",
            detach=True,
            environment={"DATABASE_URL": "sqlite:////data/service.db"},
        )
        try:
            assert exit_code(container) not in TERMINATED
            said = logs_of(container)
        finally:
            container.remove(force=True)
        assert "SECRET_KEY" in said
        assert "Traceback" not in said


def test_compose_brings_upstreams_for_the_gateway(
    engine: docker.DockerClient, tmp_path: Path
) -> None:
    with rendered(engine, tmp_path, "sqlite", gateway=True) as stack:
        (tmp_path / ".env").write_text(
            "GATEWAY_UPSTREAMS=first,second\nCOMPOSE_PROFILES=upstreams\n", "utf-8"
        )
        stack.compose("up", "--build", "--wait", f"--wait-timeout={PATIENCE:.0f}")
        for name in ("first", "second"):
            assert stack.get(f"/services/{name}/health").json() == {"status": "alive"}
            assert stack.get(f"/services/{name}/openapi.json").status_code == 200
            container = stack.container(name)
            wait_until(partial(callers, container), "the line of a request in the log")
            gateway = stack.container("api").attrs["NetworkSettings"]["Networks"].values()
            assert callers(container)[0] not in {network["IPAddress"] for network in gateway}

        def all_up() -> bool:
            components = stack.get("/ready").json()["components"]
            upstreams = [components[f"upstream:{name}"] for name in ("first", "second")]
            return all(upstream["status"] == "up" for upstream in upstreams)

        wait_until(all_up, "upstreams that are up")


def callers(container: Container) -> list[str]:
    """Say who has asked a service for its description; Docker has a line a moment after it."""
    lines = map(json.loads, logs_of(container).splitlines())
    return [line["client"] for line in lines if line.get("path") == "/openapi.json"]


def test_compose_lets_prometheus_in_and_nobody_else(
    engine: docker.DockerClient, tmp_path: Path
) -> None:
    with rendered(engine, tmp_path, "sqlite", monitoring=True) as stack:
        watching = yaml.safe_load((tmp_path / "docker/compose/monitoring.yml").read_text("utf-8"))
        need_image(engine, watching["services"]["prometheus"]["image"])
        limit = f"--wait-timeout={PATIENCE:.0f}"
        stack.compose("up", "--build", "--wait", limit, "api", "prometheus")
        url = f"http://127.0.0.1:{stack.answers['ports']['prometheus']}/api/v1"

        def scraped() -> bool:
            query = {"query": 'app_info * on (job) up{job="api"}'}
            asked = httpx2.get(f"{url}/query", params=query, timeout=60)
            return bool(asked.json()["data"]["result"])

        wait_until(scraped, "a look at the service's figures")
        assert stack.get("/metrics").status_code == 403
        groups = httpx2.get(f"{url}/rules", timeout=60).json()["data"]["groups"]
        assert {rule["health"] for group in groups for rule in group["rules"]} <= {"ok", "unknown"}
        assert len(groups) > 5


def test_compose_does_not_start_the_service_when_migrations_fail(
    engine: docker.DockerClient, tmp_path: Path
) -> None:
    with rendered(engine, tmp_path, "sqlite") as stack:
        (tmp_path / "migrations/versions/0002_wrong.py").write_text(
            'revision = "0002"\ndown_revision = "not there"\n', "utf-8"
        )
        stack.compose("build")
        up = stack.compose("up", "--wait", f"--wait-timeout={PATIENCE:.0f}", check=False)
        assert up.returncode != 0
        assert exit_code(stack.container("migrate")) != 0
        assert stack.container("api").status == "created"


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_steps_of_the_pipeline_pass_and_notice_a_wrong_answer(
    ci: str, engine: docker.DockerClient, tmp_path: Path
) -> None:
    with rendered(engine, tmp_path, "sqlite", ci=ci) as stack:
        for step in pipeline_steps(stack):
            ran = run_step(stack, step)
            assert ran.returncode == 0, f"{step}\n{ran.stdout}{ran.stderr}"

        (tmp_path / "docker-compose.override.yml").write_text(WITHOUT_OPENAPI, "utf-8")
        *earlier, last = [run_step(stack, step).returncode for step in pipeline_steps(stack)]
        assert set(earlier) == {0}
        assert last != 0


WITHOUT_OPENAPI = """\
services:
  api:
    environment:
      DOCS_ENABLED: "false"
"""


def pipeline_steps(stack: Stack) -> list[str]:
    """Read the shell scripts with which the rendered pipeline builds, starts and asks."""
    if stack.answers["ci"] == "github":
        workflow = yaml.safe_load((stack.directory / ".github/workflows/main.yml").read_text())
        steps = workflow["jobs"]["image"]["steps"]
        return [step["run"] for step in steps if "run" in step and "if" not in step]
    pipeline = yaml.safe_load((stack.directory / ".gitlab-ci.yml").read_text())
    return list(pipeline["containers"]["script"])


def run_step(stack: Stack, script: str) -> subprocess.CompletedProcess[str]:
    """Run one step of a pipeline as its runner does, at the ports of this stack."""
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=stack.directory,
        env={**os.environ, "API_PORT": str(stack.answers["ports"]["api"])},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("flavour", ["postgresql", "mysql"])
def test_development_stack_reloads_and_tests(
    flavour: str, engine: docker.DockerClient, tmp_path: Path
) -> None:
    files = ("docker-compose.yml", "docker/docker-compose.dev.yml")
    with rendered(engine, tmp_path, flavour, files) as stack:
        for secret in (".env", ".env.local"):
            (tmp_path / secret).write_text("LOG_LEVEL=INFO\n", "utf-8")
        stack.compose("up", "--build", "--wait", f"--wait-timeout={PATIENCE:.0f}")
        assert stack.get("/ready").status_code == 200
        listed = output_of(stack.container("api"), "ls", "-A").split()
        assert ".env.example" in listed
        assert not {".env", ".env.local", ".git"} & set(listed)

        (tmp_path / "app/api/v1/reloaded.py").write_text(NEW_ENDPOINT, "utf-8")
        wait_until(lambda: answers_with(stack, "/api/v1/reloaded", "yes"), "a reload")

        tested = stack.compose("run", "--rm", "api", "pytest", "--quiet", "tests/test_projects.py")
        assert re.search(r"\d+ passed", tested.stdout), tested.stdout


NEW_ENDPOINT = '''\
"""An endpoint that was not there when the container started."""

from fastapi import APIRouter

router = APIRouter()


@router.get("/reloaded")
async def get_reloaded() -> str:
    """Say yes."""
    return "yes"
'''


def answers_with(stack: Stack, path: str, expected: object) -> bool:
    """Whether the API answers `path` with this JSON; it may be restarting."""
    try:
        response = stack.get(path)
    except httpx2.TransportError:
        return False
    return response.status_code == 200 and json.loads(response.text) == expected


def test_podman_plays_the_pod(engine: docker.DockerClient, tmp_path: Path) -> None:
    """What Kubernetes is given runs: its user, its files, its volume, its settings, its end."""
    if not shutil.which("podman"):
        pytest.skip("no podman: install podman, catatonit and containernetworking-plugins")
    try:
        command = kustomize()
    except LookupError as error:
        pytest.skip(str(error))
    with rendered(engine, tmp_path, "minimal", deploy="kubernetes") as stack:
        stack.compose("build")
        image = f"{stack.answers['project_slug']}:local"
        overlay = tmp_path / "deploy/kubernetes/overlays/development"
        manifests = subprocess.run([*command, overlay], check=True, capture_output=True, text=True)
        played = [
            play_file(tmp_path / f"{name}.yaml", objects)
            for name, objects in pods_of(list(yaml.safe_load_all(manifests.stdout))).items()
        ]
        saved = subprocess.run(["docker", "save", image], check=True, capture_output=True)
        subprocess.run(["podman", "load", "--quiet"], input=saved.stdout, check=True)
        try:
            podman("kube", "play", str(played[0]))
            assert str(podman("wait", "migrate-migrate")).strip() == "0"
            podman("kube", "play", str(played[1]))
            ready = ("exec", "api-pod-0-api", "python", "/usr/local/lib/healthcheck.py", "/ready")
            wait_until(lambda: podman(*ready, check=False) is not None, "a ready pod")
            status = str(podman("exec", "api-pod-0-api", "cat", "/proc/self/status"))
            assert re.search(rf"^Uid:(\t{USER}){{4}}$", status, re.MULTILINE)
            assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
            assert podman("exec", "api-pod-0-api", "touch", "/srv/written", check=False) is None
            podman("stop", "--time=45", "api-pod-0-api")
            ended = podman("inspect", "--format={{.State.ExitCode}}", "api-pod-0-api")
            assert int(ended or -1) in TERMINATED
        finally:
            for file in reversed(played):
                podman("kube", "down", str(file), check=False)
            podman("volume", "rm", "--force", "data", check=False)
            podman("rmi", "--force", image, check=False)


def pods_of(objects: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Give what Podman 4 can play of a deployment: the migrations, and then the API.

    It removes containers that begin a pod while they still run, so they are a pod of their own; it
    reads no Secret as an environment, and knows neither a Namespace nor most other kinds.
    """
    kept = ("ConfigMap", "PersistentVolumeClaim", "Deployment")
    found = {each["kind"]: each for each in objects if each["kind"] in kept}
    assert found.keys() == set(kept)
    for each in found.values():
        each["metadata"].pop("namespace")
    pod = found["Deployment"]["spec"]["template"]["spec"]
    first = pod.pop("initContainers")
    for container in [*first, *pod["containers"]]:
        container["envFrom"] = [each for each in container["envFrom"] if "configMapRef" in each]
    migrate = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "migrate"},
        "spec": {**pod, "containers": first, "restartPolicy": "Never"},
    }
    settings, volume = found["ConfigMap"], found["PersistentVolumeClaim"]
    return {"migrate": [settings, volume, migrate], "api": [settings, found["Deployment"]]}


def play_file(path: Path, objects: list[dict[str, Any]]) -> Path:
    """Write objects as one file."""
    path.write_text(yaml.safe_dump_all(objects), "utf-8")
    return path


def podman(*arguments: str, check: bool = True) -> str | None:
    """Run Podman and give what it prints; None when it fails and may."""
    ran = subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False)
    if check and ran.returncode != 0:
        pytest.fail(f"podman {' '.join(arguments)}\n{ran.stdout}{ran.stderr}")
    return ran.stdout if ran.returncode == 0 else None
