"""Updates, replayed: they equal a fresh service with its owner's work, and lose nothing of it."""

import itertools
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from os import environ
from pathlib import Path
from typing import Any

import pytest
import yaml
from copier import run_copy

from tests.support.answers import Resolver
from tests.support.matrix import Matrix
from tests.support.render import Renderer
from tests.support.runs import (
    Running,
    database_server,
    environment,
    free_port,
    new_databases,
    python,
    running,
    token_issuer,
    with_own_programs,
)
from tests.support.services import Service, Services
from tests.support.template import ANSWERS_FILE, Answers, Template
from tests.support.updates import (
    AT_SEAMS,
    EDITS,
    ENOUGH,
    NEWEST,
    History,
    Owner,
    Replay,
    after,
    compiled_once,
    differences,
    merge,
    newest,
    read_tree,
    unresolved,
)
from tests.support.worktree import IDENTITY, clone
from tools.service import prepare, updates

TEMPLATE = Template()
MATRIX = Matrix(TEMPLATE)
PRESETS = TEMPLATE.questions["preset"].choices

RENDERER = Renderer(TEMPLATE)

UPDATED = Services(MATRIX, RENDERER).wanted(environ.get("AXES", "database"))
"""Services that are updated from each release; `make updates` takes each three answers."""

OLDEST_COPIER = "copier==9.18.0"
"""What `_min_copier_version` promises; the newest is what all other tests run."""

SEEN_BY_A_FRONTEND = {"auth", "ci", "deploy", "examples", "frontend", "port_base", "tenancy"}
"""Questions whose answers show in a frontend, or in what is around it."""

NOT_FLIPPED = frozenset({"preset", *MATRIX.texts})
"""Questions that set the defaults of others only, or whose answers are only printed."""

FOLLOWED_BY_ITS_OWNER = frozenset({"databases", "models", "tenancy"})
"""Questions whose answers models show, which are the owner's to change then.

Migrations show them too, and stay: what these import is there whatever is answered.
"""

AT_ONCE = (
    ("ci", "deploy", "license", "port_base", "python_version"),
    ("encryption", "external_api", "gateway", "monitoring", "tracing"),
)
"""Questions that are flipped together: of what is around the code, and of pieces that meet little.

An update renders a service three times, whether it changes one answer or five.
"""


@pytest.fixture(scope="module", autouse=True)
def _compiled_once() -> Iterator[None]:
    with compiled_once():
        yield


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return History(tmp_path_factory.mktemp("history") / "template")


@pytest.fixture(scope="session")
def owner(history: History) -> Owner:
    return Owner(newest(history))


@pytest.mark.parametrize("number", range(ENOUGH))
def test_an_update_loses_nothing(
    number: int, history: History, owner: Owner, tmp_path: Path
) -> None:
    if number >= len(history.versions):
        pytest.skip("this clone has fewer earlier versions")
    version = history.versions[-1 - number]
    presets = list(chosen(history.questions(version)["preset"]))
    given = {"preset": presets[number % len(presets)]}
    assert_nothing_is_lost(Replay.of(history, version, given, tmp_path / "service"), owner)


@pytest.mark.parametrize("service", UPDATED, ids=lambda service: service.name)
def test_an_update_from_each_release_loses_nothing(
    service: Service, history: History, owner: Owner, tmp_path: Path
) -> None:
    if not history.released:
        absent = pytest.fail if "AXES" in environ else pytest.skip  # `make updates` is about them
        absent("this clone has no releases (git fetch --tags)")
    for version in history.released:
        asked = history.questions(version).keys()
        given = {name: value for name, value in service.answers.items() if name in asked}
        assert_nothing_is_lost(Replay.of(history, version, given, tmp_path / version), owner)


def assert_nothing_is_lost(replay: Replay, owner: Owner) -> None:
    """Do an owner's work on a service, update it, and compare it with a fresh one."""
    before, answered = replay.tree, replay.answers
    for edit in EDITS.values():
        edit(replay.directory)
    format_(replay.directory)
    replay.commit()
    replay.update()

    assert replay.conflicts() == []
    assert answered.items() <= replay.answers.items()
    answers = Resolver(owner.renderer.template).resolve(replay.answers)
    place = replay.directory.with_name(f"{replay.directory.name} expected")
    expected = after(owner.expected(before, answers), EDITS.values(), place)
    assert differences(replay.tree, expected) == []


def format_(directory: Path) -> None:
    """Format a service as its owner's editor does: the foundation's files stay as they are."""
    command = [sys.executable, "-m", "ruff", "format", "--quiet", "--no-cache", str(directory)]
    subprocess.run(command, check=True)


def flips() -> Iterator[tuple[str, Answers, list[Any]]]:
    """Give each question, answers to start from, and the values it then takes one by one.

    The start is the last preset from which the question may have the most of its values.
    """
    for question in TEMPLATE.asked:
        if question.name in NOT_FLIPPED:
            continue
        ways = [(preset, ways_of(preset, question.name)) for preset in reversed(PRESETS)]
        preset, values = max(ways, key=lambda way: len(way[1]))
        start: Answers = {"preset": preset}
        if question.name not in SEEN_BY_A_FRONTEND:
            start["frontend"] = "none"  # a hundred files fewer, rendered three times an update
        yield question.name, start, [*values[1:], values[0]]


def ways_of(preset: str, name: str) -> list[Any]:
    """List the values that a question may have while all else stays, the present one first."""
    start = MATRIX.resolver.resolve({"preset": preset})
    recorded = {each.name: start[each.name] for each in TEMPLATE.asked}
    values = sorted(MATRIX.values(TEMPLATE.questions[name]), key=lambda each: each != start[name])
    return [value for value in values if is_legal({**recorded, name: value})]


def is_legal(answers: Answers) -> bool:
    """Whether Copier would take these answers."""
    try:
        return MATRIX.resolver.resolve(answers).items() >= answers.items()
    except ValueError:
        return False


FLIPS = {name: (start, values) for name, start, values in flips()}

FLIPPED = (*AT_ONCE, *((name,) for name in FLIPS if name not in itertools.chain(*AT_ONCE)))


def steps(names: Collection[str]) -> tuple[Answers, list[Answers]]:
    """Give what to start from, and what these questions are then answered, all at once each time.

    A question with fewer values than another keeps its last one, with which it has begun.
    """
    starts = [FLIPS[name][0] for name in names]
    assert len({start["preset"] for start in starts}) == 1
    start = min(starts, key=len)
    most = max(len(FLIPS[name][1]) for name in names)
    taken = {name: FLIPS[name][1] + FLIPS[name][1][-1:] * most for name in names}
    return start, [{name: taken[name][number] for name in names} for number in range(most)]


BESIDES: dict[str, tuple[Answers, list[Answers]]] = {
    "database-of-tenants": (
        {"preset": "multitenant"},
        [{"database": "sqlite"}, {"database": "postgresql"}, {"tenancy": False}],
    ),
    "texts": (
        {"preset": "minimal"},
        [{"project_name": "Other Notes", "project_slug": "other", "description": "Keeps notes"}],
    ),
}
"""What else is flipped: what to start from, and what is then answered each time."""


def test_every_answer_is_flipped() -> None:
    assert {name for names in FLIPPED for name in names} == FLIPS.keys()
    for names in FLIPPED:
        for name in names:
            taken = {answers[name] for answers in steps(names)[1]}
            assert taken == set(MATRIX.values(TEMPLATE.questions[name])), name


@pytest.mark.parametrize(
    ("start", "flipped"),
    [*map(steps, FLIPPED), *BESIDES.values()],
    ids=[*map("-".join, FLIPPED), *BESIDES],
)
def test_an_answer_is_flipped_and_flipped_back(
    start: Answers, flipped: list[Answers], history: History, owner: Owner, tmp_path: Path
) -> None:
    replay = Replay.of(history, NEWEST, start, tmp_path / "service")
    before, edits = replay.tree, [*EDITS.values(), *AT_SEAMS.values()]
    for edit in edits:
        edit(replay.directory)
    replay.commit()
    there, gone = set(replay.tree), set[str]()
    for number, given in enumerate(flipped):
        replay.update(**given)
        assert replay.conflicts() == [], given
        assert given.items() <= replay.answers.items()
        answers = Resolver(owner.renderer.template).resolve(replay.answers)
        fresh = owner.expected(before, answers)
        expected = dict(after(fresh, edits, tmp_path / f"expected{number}"))
        # What went with its piece comes back as new.
        expected |= {path: fresh[path] for path in gone & fresh.keys()}
        assert differences(replay.tree, expected) == [], given
        gone |= there - expected.keys()
        missing = unresolved(replay.tree)
        if FOLLOWED_BY_ITS_OWNER & given.keys():
            missing = [each for each in missing if each.startswith("migrations/")]
        assert missing == [], given
        replay.commit()


SETTINGS_OF_PIECES: Answers = {"vault": True, "gateway": True, "external_api": "bybit"}
"""Answers that bring lines of their own into the settings of an environment in Kubernetes."""

SETTING = re.compile(r"^(?!ENVIRONMENT|ALLOWED_HOSTS)(\w+)=.*$", re.MULTILINE)
"""A line that owners change, but for the one that a frontend changes as well."""


@pytest.mark.parametrize("auth", TEMPLATE.questions["auth"].choices)
@pytest.mark.parametrize("place", ["production", "staging"])
@pytest.mark.parametrize("name", SETTINGS_OF_PIECES)
@pytest.mark.parametrize("others", [{}, SETTINGS_OF_PIECES], ids=["alone", "with others"])
def test_edited_settings_take_in_what_an_answer_brings(
    auth: str, place: str, name: str, others: Answers, tmp_path: Path
) -> None:
    path = f"deploy/kubernetes/overlays/{place}/settings.env"
    start = {"preset": "minimal", "auth": auth, **others}
    off, on = (
        RENDERER.content(path, MATRIX.resolver.resolve({**start, name: value})).decode()
        for value in (type(SETTINGS_OF_PIECES[name])(), SETTINGS_OF_PIECES[name])
    )
    [brought] = set(on.splitlines()) - set(off.splitlines())
    expected = SETTING.sub(lambda line: line[0] if line[0] == brought else f"{line[1]}=ours", on)
    assert merge(tmp_path, SETTING.sub(r"\1=ours", off), off, on) == expected


@pytest.mark.parametrize("path", ["AGENTS.md", "Makefile"])
@pytest.mark.parametrize("name", FLIPS)
def test_lines_at_the_end_take_in_what_an_answer_brings(
    path: str, name: str, tmp_path: Path
) -> None:
    start, values = FLIPS[name]
    first, *others = (
        RENDERER.content(path, MATRIX.resolver.resolve({**start, name: value})).decode()
        for value in values
    )
    for other in {*others} - {first}:
        for base, theirs in ((first, other), (other, first)):
            assert merge(tmp_path, f"{base}\nours\n", base, theirs) == f"{theirs}\nours\n"


def test_an_update_adds_no_frontend(history: History, tmp_path: Path) -> None:
    """A service that was never asked goes on as it is, whatever its preset means today."""
    given = {"preset": "platform"}
    replay = Replay.of(history, NEWEST, {**given, "frontend": "none"}, tmp_path / "service")
    before, answers = replay.tree, replay.directory / ANSWERS_FILE
    recorded = answers.read_text("utf-8")
    answers.write_text(recorded.replace("frontend: none\n", ""), "utf-8")
    replay.commit()
    assert "frontend" not in replay.answers
    replay.update()
    assert replay.tree == before
    assert Replay.of(history, NEWEST, given, tmp_path / "new").answers["frontend"] == "nextjs"


def test_data_outlives_every_switch(history: History, tmp_path: Path, place: Path) -> None:
    """All answers that leave the tables alone are changed at once, and changed back."""
    start = {"preset": "minimal", "database": "postgresql"}
    replay = Replay.of(history, NEWEST, start, tmp_path / "service")
    before, directory = replay.answers, replay.directory
    with database_server(directory, place / "data") as server:
        addresses = new_databases(directory, server)
        with served(directory, addresses) as (service, _):
            made = service.post("/api/v1/projects", {"name": "Older than all of it"}).json()
        for answers in (others(before), before):
            replay.update(**answers)
            assert replay.conflicts() == []
            assert answers.items() <= replay.answers.items()
            replay.commit()
            with served(directory, addresses) as (service, token):
                found = service.get(f"/api/v1/projects/{made['id']}", token)
                assert found.json() == made


def others(answers: Answers) -> Answers:
    """Give other answers than these to all questions that change no table of the service."""
    found = dict(answers)
    for question in TEMPLATE.asked:
        if question.name in {"database", *FOLLOWED_BY_ITS_OWNER, *NOT_FLIPPED}:
            continue
        before = answers.get(question.name)
        values = sorted(MATRIX.values(question), key=lambda each: each == before)
        legal = (value for value in values if is_legal({**found, question.name: value}))
        found[question.name] = next(value for value in legal if value != "local")
    return found


@contextmanager
def served(directory: Path, addresses: dict[str, str]) -> Iterator[tuple[Running, str]]:
    """Migrate and start a service as developers do, and give it with a caller's token."""
    python(directory, "-m", "app.core.migrate", **addresses)
    port = free_port()
    with token_issuer(directory) as issuer:
        variables = environment(**addresses, **issuer.variables, PORT=str(port))
        with running([sys.executable, "-m", "app"], directory, port, variables) as service:
            service.wait_until("/ready")
            yield service, issuer.token


@pytest.fixture
def unreleased(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `make service` renders: a clone that is one commit past its newest release."""
    repository = clone(tmp_path / "template")
    git(repository, "tag", "v0.1.0")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "Work")
    monkeypatch.setattr("tools.service.TEMPLATE", repository)
    monkeypatch.setenv("PORT", str(free_port()))
    return repository


def git(directory: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=directory, env=environment(**IDENTITY), check=True)


@pytest.mark.usefixtures("unreleased")
def test_an_answer_changes_where_no_release_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = prepare(str(tmp_path / "service"), ["preset=minimal"])
    assert "`make update` works from the next release on" in capsys.readouterr().out
    git(directory, "init", "--quiet")
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--message", "Start")
    before = yaml.safe_load((directory / ANSWERS_FILE).read_text("utf-8"))
    with_own_programs(directory)
    command = ["make", "update", "ARGS=--vcs-ref :current: --data tracing=true"]
    subprocess.run(command, cwd=directory, env=environment(**IDENTITY), check=True, timeout=600)
    recorded = yaml.safe_load((directory / ANSWERS_FILE).read_text("utf-8"))
    assert recorded == {**before, "tracing": True}
    assert (directory / "app/core/tracing").is_dir()


def test_make_update_brings_the_newest_release(unreleased: Path, tmp_path: Path) -> None:
    (unreleased / "template/NEWS.md").write_text("Released.\n", "utf-8")
    git(unreleased, "add", "--all")
    git(unreleased, "commit", "--quiet", "--message", "Something new")
    git(unreleased, "tag", "v0.2.0")
    directory = tmp_path / "service"
    given = {"preset": "minimal"}
    run_copy(str(unreleased), directory, given, defaults=True, quiet=True, vcs_ref="v0.1.0")
    EDITS["a router"](directory)
    git(directory, "init", "--quiet")
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--message", "Start")
    before = read_tree(directory)
    with_own_programs(directory)
    command = ["make", "update"]
    subprocess.run(command, cwd=directory, env=environment(**IDENTITY), check=True, timeout=600)
    shutil.rmtree(directory / ".venv")
    recorded = yaml.safe_load((directory / ANSWERS_FILE).read_text("utf-8"))
    assert recorded["_commit"] == "v0.2.0"
    assert differences(read_tree(directory), {**before, "NEWS.md": b"Released.\n"}) == []


def test_what_can_be_updated_is_said(unreleased: Path) -> None:
    assert "from the next release on" in updates()
    git(unreleased, "tag", "v0.2.0")
    assert updates() == ""
    (unreleased / "draft").touch()
    assert "cannot be updated" in updates()


def test_the_oldest_copier_updates_too(history: History, owner: Owner, tmp_path: Path) -> None:
    replay = Replay.of(history, NEWEST, {"preset": "minimal"}, tmp_path / "service")
    before = replay.tree
    command = ["uv", "tool", "run", "--quiet", "--python", sys.executable, "--from", OLDEST_COPIER]
    command += ["copier", "update", "--defaults", "--quiet", "--vcs-ref", ":current:"]
    subprocess.run(
        [str(Path(sys.executable).with_name("uv")), *command[1:], "--data", "redis=true"],
        cwd=replay.directory,
        check=True,
    )
    answers = Resolver(owner.renderer.template).resolve({**replay.answers, "redis": True})
    assert replay.answers["redis"] is True
    assert differences(replay.tree, owner.expected(before, answers)) == []
    assert OLDEST_COPIER.endswith(str(TEMPLATE.settings["min_copier_version"]))


def test_questions_and_choices_only_grow(history: History) -> None:
    for version in history.versions:
        assert shrunk(history.questions(version)) == [], version


def test_what_shrinks_is_seen() -> None:
    document = yaml.safe_load((TEMPLATE.root / "copier.yml").read_text("utf-8"))
    document["gone"] = {"type": "bool", "default": False}
    document["ci"]["choices"].append("jenkins")
    document["_exclude"] = ["/other"]
    document["_skip_if_exists"].append("/mine.py")
    assert shrunk(document) == [
        "_exclude is another",
        "_skip_if_exists has no /mine.py any more",
        "ci cannot be jenkins any more",
        "gone is not asked any more",
    ]


def shrunk(earlier: dict[str, Any]) -> list[str]:
    """Name what an earlier copier.yml promised and this one does not keep."""
    now = yaml.safe_load((TEMPLATE.root / "copier.yml").read_text("utf-8"))
    found = [
        f"{name} has no {line} any more"
        for name in ("_skip_if_exists",)
        for line in earlier[name]
        if line not in now[name]
    ]
    found += [f"{name} is another" for name in ("_exclude",) if earlier[name] != now[name]]
    for name, question in earlier.items():
        if name.startswith("_"):
            continue
        if name not in now:
            found.append(f"{name} is not asked any more")
            continue
        gone = set(chosen(question)) - set(chosen(now[name]))
        found += [f"{name} cannot be {value} any more" for value in sorted(map(str, gone))]
    return sorted(found)


def chosen(question: dict[str, Any]) -> Iterator[Any]:
    """Give the values among which a question lets choose."""
    choices = question.get("choices", ())
    yield from choices.values() if isinstance(choices, dict) else choices


def test_a_conflict_is_seen(history: History, tmp_path: Path) -> None:
    replay = Replay.of(history, NEWEST, {"preset": "minimal"}, tmp_path / "service")
    project = replay.directory / "pyproject.toml"
    lines = project.read_text("utf-8").splitlines(keepends=True)
    mark = next(number for number, line in enumerate(lines) if '"aiosqlite' in line)
    lines[mark] = '    "aiosqlite>=0.1",\n'
    project.write_text("".join(lines), "utf-8")
    replay.commit()
    replay.update(database="postgresql")
    assert replay.conflicts()


def test_edits_are_edits(owner: Owner, tmp_path: Path) -> None:
    tree = dict(owner.renderer.tree(MATRIX.resolver.resolve({"preset": "platform"})))
    places = (tmp_path / f"edit{number}" for number in itertools.count())
    for name, edit in {**EDITS, **AT_SEAMS}.items():
        assert differences(after(tree, [edit], next(places)), tree), name
