"""What must hold for the template's own files, before anything is rendered.

Each check takes a template and gives one line for each thing that is wrong. `test_contract.py`
runs them all over the real template, and each over a template broken on purpose.
"""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator

from jinja2 import nodes
from pathspec import GitIgnoreSpec

from tests.support.matrix import Matrix
from tests.support.requirements import dependencies, normalised
from tests.support.template import (
    ANSWERS_TEMPLATE,
    INTERPOLATION,
    LITTER,
    SUFFIX,
    Answers,
    Piece,
    Template,
    rendered_name,
)

Check = Callable[[Template], Iterator[str]]

FROZEN_EXCLUDE = ["{% include 'extensions/excluded.jinja' %}"]
NEEDS_TRUST = ("jinja_extensions", "tasks", "migrations", "external_data", "secret_questions")
OUT_OF_FORCE = (".gitignore.jinja",)
"""Named so that they do not act on the template's own repository."""
OWN_NAMES = ("app", "docker", "migrations", "tests")
PORT_BASES = (1024, 1025, 4999, 5200, 33_333, 63_999, 64_000)
JINJA = re.compile(r"\{[%#]|(?<!\$)\{\{")
PYTHON_JINJA = re.compile(r"\{%")
OTHER_TEMPLATES = (
    "deploy/monitoring/",
    "deploy/kubernetes/components/monitoring/rules/",
    "deploy/kubernetes/components/worker-monitoring/rules/",
    "deploy/kubernetes/roll-back.sh",
)
"""Where Prometheus, Grafana, Vector and kubectl have their own templates: {{ $labels.route }}."""


def questions_are_complete(template: Template) -> Iterator[str]:
    """Every question has a default for ever and one line of help."""
    for question in template.questions.values():
        if question.default is None:
            yield f"{question.name} has no default"
        if not question.help or "\n" in question.help.strip():
            yield f"{question.name} needs one line of help"


def needs_no_trust(template: Template) -> Iterator[str]:
    """`copier copy` never asks for --trust."""
    for setting in NEEDS_TRUST:
        if setting in template.settings:
            yield f"_{setting} makes Copier ask for --trust, for this and every later update"
    for question in template.questions.values():
        if question.secret:
            yield f"{question.name} is secret, so an update cannot repeat the rendering"


def exclude_is_frozen(template: Template) -> Iterator[str]:
    """An update renders `_exclude` with the environment of the old template."""
    if template.settings["exclude"] != FROZEN_EXCLUDE:
        yield f"_exclude must stay {FROZEN_EXCLUDE}: conditions belong into the manifest"


def manifest_paths_are_right(template: Template) -> Iterator[str]:
    """Each path of a piece exists, is anchored and belongs to this piece alone.

    It may lie in the directory of a piece that is on whenever this one is: such a directory belongs
    to some answer, and what is in it to further ones.
    """
    rendered = {rendered_name(name) for name in template.files}
    owners = [(piece, path) for piece in template.pieces.values() for path in piece.paths]
    matrix = Matrix(template)
    for path, times in Counter(path for _, path in owners).items():
        if times > 1:
            yield f"{path} is listed {times} times"
        if not path.startswith("/") or path.endswith("/"):
            yield f"{path} must start with / and have no / at its end"
        below = path.strip("/") + "/"
        if not any(name == below[:-1] or name.startswith(below) for name in rendered):
            yield f"{path} does not exist in the template"
    for piece, path in owners:
        for other, outer in owners:
            if not path.startswith(f"{outer}/"):
                continue
            if piece is other or other.once or not implies(matrix, piece, other):
                yield f"{path} lies in {outer}, which may be off while {piece.name} is on"


def implies(matrix: Matrix, piece: Piece, other: Piece) -> bool:
    """Whether a piece is on only where another one is on."""
    return all(
        other.name in projection.answers["active"]
        for projection in matrix.projections(pieces={piece.name, other.name})
        if piece.name in projection.answers["active"]
    )


def pieces_are_switched(template: Template) -> Iterator[str]:
    """Each piece is on for some legal answers and off for others, and does something when on."""
    matrix = Matrix(template)
    asked_for = _pieces_asked_for(template)
    for piece in template.pieces.values():
        states = {
            piece.name in projection.answers["active"]
            for projection in matrix.projections(pieces={piece.name})
        }
        if states != {True, False}:
            yield f"the piece {piece.name} is {'always' if True in states else 'never'} on"
        if not piece.paths and piece.name not in asked_for:
            yield f"the piece {piece.name} has no files and no file asks for it"
    for name in asked_for - template.pieces.keys():
        yield f"a file asks for the piece {name}, which the manifest does not have"


def questions_are_read(template: Template) -> Iterator[str]:
    """Each answer reaches a file, a piece, or the default of a question that does."""
    read = {name for text in _texts(template) for name in template.variables(text)}
    read |= {name for piece in template.pieces.values() for name in template.variables(piece.when)}
    read.discard("active")
    while True:
        defaults = [
            question.default
            for question in template.questions.values()
            if question.name in read and isinstance(question.default, str)
        ]
        behind = {name for text in defaults for name in template.variables(text)} - read
        if not behind:
            break
        read |= behind
    for name in template.questions.keys() - read - {"active"}:
        yield f"nobody reads {name}"


def conditions_are_plain(template: Template) -> Iterator[str]:
    """Files ask for one piece at a time, around whole lines: so the tests may take them apart."""
    for name in _jinja_files(template):
        try:
            template.blocks(name)
        except ValueError as error:
            yield str(error)
        for branch in template.environment.parse(template.read(name)).find_all(nodes.CondExpr):
            yield f"{name} line {branch.lineno} has a condition within a line"


def file_names_are_plain(template: Template) -> Iterator[str]:
    """No conditions in file names, and none of the characters that Windows refuses.

    An answer may stand in the name of a file that is the user's: `{{ external_api }}.py`.
    """
    for name in template.files:
        plain = INTERPOLATION.sub("x", name)
        if name != ANSWERS_TEMPLATE and re.search(r'[{}"<>:|?*\\]', plain):
            yield f"{name} is no plain file name"
        if unknown := set(INTERPOLATION.findall(name)) - template.questions.keys():
            yield f"{name} is named after {unknown.pop()}, which is no question"
    if ANSWERS_TEMPLATE not in template.files:
        yield f"{ANSWERS_TEMPLATE} is missing: nobody could update a service"


def static_files_are_static(template: Template) -> Iterator[str]:
    """A file that is not rendered contains no Jinja, and one that is rendered contains some."""
    for name in template.files:
        text = template.read(name)
        plain = name.endswith((".py", ".md")) or name.startswith(OTHER_TEMPLATES)
        found = (PYTHON_JINJA if plain else JINJA).search(text)
        if not name.endswith(SUFFIX) and found:
            yield f"{name} contains Jinja ({found.group()}) but is not rendered"
        if name.endswith(SUFFIX) and not JINJA.search(text) and name not in OUT_OF_FORCE:
            yield f"{name} is rendered but contains no Jinja"


def files_reach_git(template: Template) -> Iterator[str]:
    """No .gitignore, the repository's or the rendered one, keeps a file out of a commit."""
    command = ["git", "ls-files", "--others", "--ignored", "--exclude-standard", "--directory"]
    listing = subprocess.run(
        [*command, "."], cwd=template.root, check=True, capture_output=True, text=True
    )
    for name in listing.stdout.splitlines():
        path = name.rstrip("/")
        if path.startswith(("extensions/", "template/")) and not LITTER.search(path):
            yield f"git ignores {path}"


WHOLE = {"external_api", "nextjs"}
"""Pieces whose files are their user's as soon as they are there."""


def kept_files_come_with_their_piece(template: Template) -> Iterator[str]:
    """`_skip_if_exists` names files that every service has, or every service with a piece.

    Those of a piece go with it, and come back with it as new.
    """
    rendered = {rendered_name(name) for name in template.files}
    for path in template.settings["skip_if_exists"]:
        named = list(GitIgnoreSpec.from_lines([path]).match_files(rendered))
        if not path.startswith("/") or not named:
            yield f"_skip_if_exists: {path} does not exist in the template"
        owners = {owner.name for each in named if (owner := template.owner(each))}
        for name in owners - WHOLE:
            yield f"_skip_if_exists: {path} belongs to the piece {name}"


def reserved_names_are_complete(template: Template) -> Iterator[str]:
    """No service can be called like a module or a package that it imports."""
    reserved = (template.root / "extensions/reserved.txt").read_text("utf-8").split()
    if reserved != sorted(set(reserved)):
        yield "extensions/reserved.txt is not sorted, or has a name twice"
    modules = {name for name in sys.stdlib_module_names if not name.startswith("_")}
    wanted = {*map(normalised, modules), *OWN_NAMES, *dependencies(template)}
    for name in sorted(wanted - set(reserved)):
        yield f"extensions/reserved.txt lacks {name}"


def ports_never_collide(template: Template) -> Iterator[str]:
    """Whatever the base, the published ports differ from each other and exist.

    Every port lies at a fixed distance from the base, so what holds for some bases, the largest
    among them, holds for all.
    """
    matrix = Matrix(template)
    for projection in matrix.projections(template.asked_behind(["ports"])):
        base, ports = projection.answers["port_base"], projection.answers["ports"]
        if len(set(ports.values())) < len(ports):
            yield f"port_base {base} publishes a port twice: {ports}"
        if not all(0 < port < 65_536 for port in ports.values()):
            yield f"port_base {base} publishes a port that does not exist: {ports}"
    free = template.asked_behind(["ports"]) - {"port_base"}
    for projection in matrix.projections(free):
        distances = [_distances(matrix, projection.answers, base) for base in PORT_BASES]
        if distances != distances[:1] * len(distances):
            yield f"the ports are not at a fixed distance from port_base: {distances}"


CHECKS: tuple[Check, ...] = (
    questions_are_complete,
    needs_no_trust,
    exclude_is_frozen,
    manifest_paths_are_right,
    pieces_are_switched,
    questions_are_read,
    conditions_are_plain,
    file_names_are_plain,
    static_files_are_static,
    files_reach_git,
    kept_files_come_with_their_piece,
    reserved_names_are_complete,
    ports_never_collide,
)


def _distances(matrix: Matrix, answers: Answers, base: int) -> dict[str, int]:
    question = matrix.template.questions["ports"]
    ports = matrix.resolver.default(question, {**answers, "port_base": base})
    return {name: port - base for name, port in ports.items()}


def _jinja_files(template: Template) -> list[str]:
    return [name for name in template.files if name.endswith(SUFFIX)]


def _texts(template: Template) -> Iterator[str]:
    yield from (template.read(name) for name in _jinja_files(template))
    yield from (text for key, text in template.settings.items() if key.startswith("message_"))


def _pieces_asked_for(template: Template) -> set[str]:
    asked: set[str] = set()
    for text in _texts(template):
        asked |= template.pieces_asked_for(text) or set()
    return asked
