"""The commands of the README, on a fresh clone and a machine with nothing but Python, git and make.

Everything is installed for real: into virtual environments of their own, from the package index.
"""

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from tests.support.runs import COMMAND_SECONDS, environment, free_port, running
from tests.support.template import ROOT
from tests.support.worktree import IDENTITY, clone

ABSENT = re.compile(
    r"^(docker|podman|uvx?|pip|python|pyenv|pipx|poetry|postgres|psql|pg_|mysql|maria)"
)
"""Programs that the machine of these tests does not have, besides one interpreter."""

NAME = "Survives a restart"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a machine with the system's tools and one Python; no Docker, no uv."""
    programs = tmp_path_factory.mktemp("programs")
    for directory in ("/bin", "/usr/bin"):
        for program in Path(directory).iterdir():
            link = programs / program.name
            if not ABSENT.match(program.name) and not link.exists():
                link.symlink_to(program)
    interpreter = programs / "python3"
    interpreter.write_text(f'#!/bin/sh\nexec "{base_interpreter()}" "$@"\n', "utf-8")
    interpreter.chmod(stat.S_IRWXU)
    return environment(
        PATH=str(programs),
        PYTHONDONTWRITEBYTECODE="",  # Each process would compile all new packages again.
        GIT_CONFIG_GLOBAL=IDENTITY["GIT_CONFIG_GLOBAL"],
        GIT_CONFIG_SYSTEM=IDENTITY["GIT_CONFIG_SYSTEM"],
    )


def base_interpreter() -> Path:
    """Give the interpreter behind the virtual environment of these tests."""
    return Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")


def make(
    directory: Path, machine: dict[str, str], *arguments: str
) -> "subprocess.CompletedProcess[str]":
    """Run make as a user does."""
    return subprocess.run(
        ["make", *arguments],
        cwd=directory,
        env=machine,
        check=False,
        capture_output=True,
        text=True,
        timeout=1800,
    )


def test_machine_has_nothing(machine: dict[str, str]) -> None:
    for program in ("docker", "uv", "pip", "postgres", "mariadbd"):
        found = subprocess.run(["which", program], env=machine, check=False, capture_output=True)
        assert found.returncode != 0, found.stdout


@pytest.mark.parametrize(
    "answers", ["", "database=sqlite port_base=5200"], ids=["defaults", "answers"]
)
def test_service_starts_stops_and_finds_its_data_again(
    answers: str, repository: Path, machine: dict[str, str], place: Path
) -> None:
    target, port = place / "my-service", free_port()
    command = ["make", "service", f"DIR={target}", f"PORT={port}"]

    with running([*command, f"ANSWERS={answers}"], repository, port, machine) as server:
        server.wait_until("/ready", COMMAND_SECONDS)
        output = "\n".join(server.output)
        for path in ("/api/v1", "/docs", "/ready"):
            assert f"http://127.0.0.1:{port}{path}" in output
        assert server.post("/api/v1/projects", {"name": NAME}).status_code == 201
        server.stop(signal.SIGINT, group=True)
    assert list(processes_of(target)) == []
    assert "Traceback" not in "\n".join(server.output)
    recorded = yaml.safe_load((target / ".copier-answers.yml").read_text("utf-8"))
    given = dict(answer.split("=") for answer in answers.split())
    assert {name: str(recorded[name]) for name in given} == given

    with running(command, repository, port, machine) as server:
        server.wait_until("/ready", COMMAND_SECONDS)
        names = [project["name"] for project in server.get("/api/v1/projects").json()["items"]]
        assert names == [NAME]
        server.stop(signal.SIGINT, group=True)
    assert list(processes_of(target)) == []


def test_service_passes_its_own_checks(
    repository: Path, machine: dict[str, str], place: Path
) -> None:
    """What CI runs: style, types, tests on the real database, the lock file."""
    target = place / "service"
    copied = subprocess.run(
        [*(sys.executable, "-m", "copier", "copy", "--defaults", "--quiet"), repository, target],
        env=environment(**IDENTITY),
        check=False,
        capture_output=True,
        text=True,
    )
    assert copied.returncode == 0, copied.stderr
    checked = make(target, machine, "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert re.search(r"\d+ passed", checked.stdout)
    assert "skipped" not in checked.stdout
    measured = make(target, machine, "test", "ARGS=--cov -k health")
    assert re.search(r"^TOTAL .+%$", measured.stdout, re.MULTILINE), measured.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say where the service goes"),
        (["DIR={}/service", "ANSWERS=database=oracle"], "database cannot be 'oracle'"),
        (["DIR={}/service", "ANSWERS=project_slug=4you"], "'4you' is no valid slug"),
    ],
)
def test_refusal_is_one_line(
    arguments: list[str], said: str, repository: Path, machine: dict[str, str], tmp_path: Path
) -> None:
    filled = [argument.format(tmp_path) for argument in arguments]
    done = make(repository, machine, "service", f"PORT={free_port()}", *filled)
    # make itself adds one line, the target that failed.
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert done.returncode != 0
    assert len(lines) == 1, done.stderr
    assert said in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_old_python_is_refused_in_one_line(
    repository: Path, machine: dict[str, str], tmp_path: Path
) -> None:
    old = tmp_path / "python3.10"
    old.write_text("#!/bin/sh\nexit 1\n", "utf-8")
    old.chmod(stat.S_IRWXU)
    venv = f"VENV={tmp_path / 'venv'}"
    done = make(repository, machine, "service", f"PYTHON={old}", venv, "DIR=../service")
    assert done.returncode != 0
    assert "Python 3.11 or later is needed" in done.stderr.splitlines()[0]


def test_every_command_is_listed(machine: dict[str, str]) -> None:
    listed = {line.split()[0] for line in make(ROOT, machine).stdout.splitlines()}
    makefile = (ROOT / "Makefile").read_text("utf-8")
    phony = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert listed == set(" ".join(phony).split())


def processes_of(directory: Path) -> Iterator[psutil.Process]:
    """Find processes that still have to do with a directory."""
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.cwd()]
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if process.pid != os.getpid() and any(str(directory) in word for word in words):
            yield process
