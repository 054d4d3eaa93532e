"""Render a service into a directory, if there is none yet, and start it: `make service`.

Whatever is wrong is said in one line, before anything is written.
"""

import argparse
import difflib
import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import yaml
from copier import run_copy
from copier.errors import CopierError, CopierWarning
from jinja2 import Template
from plumbum import local

TEMPLATE = Path(__file__).resolve().parent.parent
ANSWERS_FILE = ".copier-answers.yml"
EXAMPLE = "make service DIR=../my-service"
# As copier.yml computes them; a test compares.
DEFAULT_PORT = 8000
API_OFFSET = 10
OWN_VARIABLES = ("ANSWERS", "DIR", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS")


class Refusal(Exception):  # noqa: N818 - it is no error of the program
    """Something the user has to change first; the message says what, in one line."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Render and start a service; does not come back.

    Raises:
        SystemExit: with one line on stderr and status 1.
    """
    parser = argparse.ArgumentParser(prog="make service", description=__doc__)
    parser.add_argument("directory", help="where the service is, or shall be")
    parser.add_argument("answers", nargs="*", metavar="NAME=VALUE", help="other than the defaults")
    options = parser.parse_args(arguments)
    try:
        directory = prepare(options.directory, options.answers)
    except Refusal as refusal:
        sys.exit(f"make service: {refusal}")
    start(directory)


def prepare(directory: str, given: Sequence[str]) -> Path:
    """Make sure that a service stands in a directory and that it can be started.

    Args:
        directory: as the user wrote it.
        given: answers in the form NAME=VALUE.

    Returns:
        The absolute directory.

    Raises:
        Refusal: nothing was written.
    """
    if not directory:
        raise Refusal(f"say where the service goes, for example {EXAMPLE}")
    target = Path(directory).expanduser().resolve()
    rendered = _holds_service(target)
    answers = _parse(given, _questions())
    if rendered and answers:
        raise Refusal(
            f"{target} is a service already, so its answers stand: leave ANSWERS out to start it,"
            " or change them by copier update --vcs-ref :current: --data NAME=VALUE"
        )
    _check_port(os.environ.get("PORT") or api_port(_recorded(target) if rendered else answers))
    if not rendered:
        _say(f"Rendering a service into {target}")
        render(target, answers)
        if outlook := updates():
            _say(outlook)
    return target


def render(target: Path, answers: Mapping[str, str]) -> None:
    """Render the template as it stands, uncommitted changes included, without trust.

    Raises:
        Refusal: an answer is not accepted, or the directory cannot be written.
    """
    try:
        with warnings.catch_warnings(), _identity():
            warnings.simplefilter("ignore", CopierWarning)
            run_copy(
                str(TEMPLATE), target, dict(answers), vcs_ref="HEAD", defaults=True, quiet=True
            )
    except (CopierError, OSError, ValueError) as error:
        raise Refusal(_one_line(error)) from error


def updates() -> str:
    """Say what updates a service rendered from here will have; empty when it is from a release."""
    if _git("status", "--porcelain") or not _git("rev-parse", "HEAD"):
        return "No commit holds what it was rendered from: this service cannot be updated"
    if not _git("tag", "--points-at", "HEAD"):
        return "It was rendered from no release: `make update` works from the next release on"
    return ""


def api_port(answers: Mapping[str, Any]) -> int:
    """Give the port on which a service with these answers listens, unless PORT says otherwise.

    Raises:
        Refusal: port_base is no number.
    """
    questions = _questions()
    preset = answers.get("preset", questions["preset"]["default"])
    default = Template(questions["port_base"]["default"]).render(preset=preset)
    try:
        base = int(answers.get("port_base", default))
    except ValueError as error:
        raise Refusal(f"port_base is a number, for example 5200: {_one_line(error)}") from error
    return base + API_OFFSET if base else DEFAULT_PORT


def start(directory: Path) -> NoReturn:
    """Become the service's own `make dev`, so that Ctrl-C and its exit status are the service's."""
    _say(f"Starting it; next time: make -C {directory} dev")
    environment = {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES}
    os.execvpe("make", ["make", "--no-print-directory", "-C", str(directory), "dev"], environment)


def _holds_service(target: Path) -> bool:
    if target == TEMPLATE or target.is_relative_to(TEMPLATE):
        raise Refusal(
            f"{target} lies in the template itself: choose a directory beside it, {EXAMPLE}"
        )
    if not target.exists():
        return False
    if not target.is_dir():
        raise Refusal(f"{target} is a file: choose a directory that does not exist yet")
    if (target / ANSWERS_FILE).is_file():
        return True
    if any(target.iterdir()):
        raise Refusal(
            f"{target} is not empty and holds no service: choose a directory that does not exist"
        )
    return False


def _questions() -> dict[str, Mapping[str, Any]]:
    document = yaml.safe_load((TEMPLATE / "copier.yml").read_text("utf-8"))
    return {
        name: question
        for name, question in document.items()
        if not name.startswith("_") and question.get("when") is not False
    }


def _parse(given: Sequence[str], questions: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    answers: dict[str, str] = {}
    for entry in given:
        name, equals, value = entry.partition("=")
        if not equals:
            raise Refusal(f"{entry!r} is no answer: write NAME=VALUE, for example database=sqlite")
        if name not in questions:
            raise Refusal(f"there is no question {name!r}: {_hint(name, questions)}")
        answers[name] = value
    for name, value in answers.items():
        choices = _choices(questions[name])
        if choices and value not in choices:
            raise Refusal(f"{name} cannot be {value!r}: choose one of {', '.join(choices)}")
    return answers


def _choices(question: Mapping[str, Any]) -> Sequence[str]:
    if question.get("type") == "bool":
        return ("yes", "no", "true", "false")
    choices = question.get("choices", ())
    return [str(value) for value in (choices.values() if isinstance(choices, Mapping) else choices)]


def _hint(name: str, questions: Mapping[str, Any]) -> str:
    if close := difflib.get_close_matches(name, questions, n=1):
        return f"did you mean {close[0]}?"
    return f"choose from {', '.join(questions)}"


def _git(*arguments: str) -> str:
    """Ask git about the template; empty also when there is no repository."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=TEMPLATE, check=False, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def _recorded(service: Path) -> Mapping[str, Any]:
    answers: Mapping[str, Any] = yaml.safe_load((service / ANSWERS_FILE).read_text("utf-8"))
    return answers


def _check_port(wanted: str | int) -> None:
    try:
        port = int(wanted)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except (ValueError, OverflowError):
        raise Refusal(f"PORT={wanted} is no port: choose a number from 1024 to 65535") from None
    except OSError as error:
        raise Refusal(
            f"port {port} cannot be used ({error.strerror}): choose another, for example"
            f" {EXAMPLE} PORT={port + 1}"
        ) from error


@contextmanager
def _identity() -> Iterator[None]:
    """Let Copier commit uncommitted changes of the template to its temporary clone of it."""
    person = {"NAME": "Groundwork", "EMAIL": "groundwork@example.com"}
    names = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in person.items()
    }
    with local.env(**names):
        yield


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if text.startswith("Validation error for question"):
        text = text.partition("': ")[2]
    return text


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
