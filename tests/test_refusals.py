"""Plain `copier copy` and `make service`: what they accept, and what they refuse in one line."""

import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from tests.support.answers import Resolver
from tests.support.matrix import SPREAD
from tests.support.runs import environment, free_port
from tests.support.template import ROOT, Template
from tests.support.worktree import IDENTITY, clone
from tools.service import api_port, prepare

TEMPLATE = Template()
ACCEPTED = [
    *({"preset": preset} for preset in TEMPLATE.questions["preset"].choices),
    *({"database": database} for database in TEMPLATE.questions["database"].choices),
]
REFUSED: Mapping[str, tuple[str, str]] = {
    "slug with capitals": ("project_slug=My_App", "'My_App' is no valid slug"),
    "slug that starts with a digit": ("project_slug=4you", "'4you' is no valid slug"),
    "slug that is too long": (f"project_slug={'a' * 41}", "is no valid slug"),
    "slug of a module": ("project_slug=json", "'json' shadows a module"),
    "slug of a dependency": ("project_slug=fastapi", "'fastapi' shadows a module"),
    "name that gives no slug": ("project_name=Привет", "is no valid slug"),
    "empty name": ("project_name= ", "project_name is a title"),
    "quotes in a name": ('project_name=a"b', "project_name is a title"),
    "quotes in the description": ('description=a"b', "description is one line"),
    "nameless author": ("author_name= ", "author_name is one line"),
    "address without @": ("author_email=me", "'me' is no e-mail address"),
    "privileged port": ("port_base=80", "port_base is 0 or a number from 1024 to 64000"),
    "port that does not exist": ("port_base=70000", "port_base is 0 or a number"),
    "port that browsers refuse": ("port_base=6000", "port_base 6000 needs port 6000"),
    "port that is no number": ("port_base=many", "many"),
    "database that is not there": ("database=oracle", "'oracle'"),
    "preset that is not there": ("preset=everything", "'everything'"),
    "API with capitals": ("external_api=ByBit", "'ByBit' is no name for a client"),
    "API of a keyword": ("external_api=class", "'class' means something else already"),
    "API of a variable that is there": ("external_api=github", "'github' means something else"),
    "API whose name is too long": (f"external_api={'a' * 25}", "is no name for a client"),
    "unknown licence": ("license=GPL-3.0", "'GPL-3.0'"),
    "old Python": ("python_version=3.9", "'3.9'"),
    "unknown pipelines": ("ci=jenkins", "'jenkins'"),
}
REFUSED_BY_COMMAND: Mapping[str, tuple[str, str]] = {
    "question that does not exist": ("databse=mysql", "did you mean database?"),
    "question that resembles none": ("xyzzy=1", "choose from preset, project_name"),
    "computed question": ("active=[]", "there is no question 'active'"),
    "setting of Copier": ("_exclude=[]", "there is no question '_exclude'"),
    # Copier itself takes this for false.
    "neither yes nor no": ("examples=perhaps", "examples cannot be 'perhaps'"),
    "no answer": ("mysql", "write NAME=VALUE"),
}


def run(*command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run this interpreter in the repository, as a user who has no git identity."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment(
            GIT_CONFIG_GLOBAL=IDENTITY["GIT_CONFIG_GLOBAL"],
            GIT_CONFIG_SYSTEM=IDENTITY["GIT_CONFIG_SYSTEM"],
            **variables,
        ),
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone without tags, as a user may have it."""
    return clone(tmp_path_factory.mktemp("repository"))


@pytest.mark.parametrize("answers", ACCEPTED, ids=lambda answers: "-".join(answers.values()))
def test_copier_copies_without_trust(
    answers: Mapping[str, str], repository: Path, tmp_path: Path
) -> None:
    target = tmp_path / "service"
    data = [f"--data={name}={value}" for name, value in answers.items()]
    done = run("-m", "copier", "copy", "--defaults", *data, str(repository), str(target))
    assert done.returncode == 0, done.stderr
    recorded = (target / ".copier-answers.yml").read_text("utf-8")
    assert "_commit:" in recorded
    assert all(f"{name}: {value}" in recorded for name, value in answers.items())
    assert "make dev" in done.stderr


@pytest.mark.parametrize(("answer", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_copier_refuses(answer: str, said: str, repository: Path, tmp_path: Path) -> None:
    target = tmp_path / "service"
    done = run(
        *("-m", "copier", "copy", "--defaults", f"--data={answer}"), str(repository), str(target)
    )
    assert done.returncode != 0
    assert said in done.stderr.splitlines()[-1]
    assert not target.exists()


@pytest.fixture
def port() -> str:
    return str(free_port())


def assert_one_line(done: "subprocess.CompletedProcess[str]", said: str) -> None:
    """The command failed and said why in one line."""
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert said in done.stderr


@pytest.mark.parametrize(
    ("answer", "said"),
    [*REFUSED.values(), *REFUSED_BY_COMMAND.values()],
    ids=[*REFUSED, *REFUSED_BY_COMMAND],
)
def test_command_refuses_answer(answer: str, said: str, tmp_path: Path, port: str) -> None:
    target = tmp_path / "service"
    assert_one_line(run("-m", "tools.service", str(target), answer, PORT=port), said)
    assert not target.exists()


def test_command_needs_a_directory() -> None:
    assert_one_line(run("-m", "tools.service", ""), "make service DIR=")


def test_command_refuses_directory_with_other_things(tmp_path: Path, port: str) -> None:
    (tmp_path / "mine.txt").write_text("mine", "utf-8")
    done = run("-m", "tools.service", str(tmp_path), PORT=port)
    assert_one_line(done, "is not empty and holds no service")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_command_refuses_file(tmp_path: Path, port: str) -> None:
    (tmp_path / "file").touch()
    assert_one_line(run("-m", "tools.service", str(tmp_path / "file"), PORT=port), "is a file")


def test_command_refuses_directory_that_cannot_be_made(tmp_path: Path, port: str) -> None:
    (tmp_path / "file").touch()
    done = run("-m", "tools.service", str(tmp_path / "file" / "service"), PORT=port)
    assert_one_line(done, "Not a directory")


def test_command_refuses_the_template_itself(port: str) -> None:
    done = run("-m", "tools.service", "my-service", PORT=port)
    assert_one_line(done, "lies in the template itself")
    assert not (ROOT / "my-service").exists()


def test_command_refuses_other_answers_for_a_service(tmp_path: Path, port: str) -> None:
    (tmp_path / ".copier-answers.yml").write_text("database: sqlite\n", "utf-8")
    done = run("-m", "tools.service", str(tmp_path), "database=mysql", PORT=port)
    assert_one_line(done, "is a service already, so its answers stand")


@pytest.fixture
def taken() -> Iterator[str]:
    """A port on which somebody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield str(listener.getsockname()[1])


def test_command_refuses_port_that_is_taken(taken: str, tmp_path: Path) -> None:
    target = tmp_path / "service"
    done = run("-m", "tools.service", str(target), PORT=taken)
    assert_one_line(done, f"port {taken} cannot be used")
    assert not target.exists()


@pytest.mark.parametrize("port", ["many", "99999"])
def test_command_refuses_what_is_no_port(port: str, tmp_path: Path) -> None:
    target = tmp_path / "service"
    assert_one_line(run("-m", "tools.service", str(target), PORT=port), "is no port")
    assert not target.exists()


@pytest.mark.parametrize("base", SPREAD["port_base"])
def test_command_knows_the_port(base: int) -> None:
    answers = Resolver(TEMPLATE).resolve({"port_base": base})
    assert api_port({"port_base": str(base)}) == answers["ports"]["api"]


@pytest.mark.parametrize("preset", TEMPLATE.questions["preset"].choices)
def test_command_knows_the_port_of_a_preset(preset: str) -> None:
    answers = Resolver(TEMPLATE).resolve({"preset": preset})
    assert api_port({"preset": preset}) == answers["ports"]["api"]


def test_command_takes_yes_and_no(
    tmp_path: Path, port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", port)
    prepare(str(tmp_path / "service"), ["preset=minimal", "tracing=yes", "examples=no"])
    recorded = yaml.safe_load((tmp_path / "service/.copier-answers.yml").read_text("utf-8"))
    assert (recorded["tracing"], recorded["examples"]) == (True, False)
