"""What `deploy/pipeline/` has, as a pipeline runs it: git, make and HTTP are real, and small."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.outside import Request, outside
from tests.support.template import ROOT
from tests.test_artefacts import repository

SCRIPT = ROOT / "template/deploy/pipeline/template_update.py"
ANSWERS = "_commit: {}\n_src_path: https://example.com/groundwork.git\n"
MAKEFILE = """\
update:
\t{update}

install:
\t@echo resolved$(if $(CI), to the letter) > uv.lock

check:
\t@echo twelve passed
\t@{check}
"""
TYPES = """
frontend-types:
\t@echo resolved$(if $(CI), to the letter) > frontend/package-lock.json
"""
NEWER = "sed -i s/v1.0.0/v1.1.0/ .copier-answers.yml; echo newer > app.py"


def service(directory: Path, update: str = NEWER, check: str = "true") -> Path:
    """Make a service whose commands do what is wanted."""
    repository(
        directory,
        {
            ".copier-answers.yml": ANSWERS.format("v1.0.0").encode(),
            "Makefile": MAKEFILE.format(update=update, check=check).encode(),
            "app.py": b"older\n",
        },
    )
    git(directory, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "Start")
    return directory


def git(directory: Path, *arguments: str) -> str:
    """Ask git."""
    command = ["git", *arguments]
    return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout


def run(directory: Path, report: Path) -> subprocess.CompletedProcess[str]:
    """Run the script as a pipeline does."""
    command = [sys.executable, "-I", str(SCRIPT), str(report)]
    return subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, "CI": "true"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_update_is_committed_and_told(tmp_path: Path) -> None:
    directory, report = service(tmp_path / "service"), tmp_path / "report.md"
    ran = run(directory, report)
    assert ran.stdout.splitlines() == ["changed=true", "version=v1.1.0"], ran.stderr
    assert git(directory, "show", "--format=%s", "--name-only", "HEAD").split("\n\n") == [
        "Update the foundation to v1.1.0",
        ".copier-answers.yml\napp.py\nuv.lock\n",
    ]
    assert (directory / "uv.lock").read_text() == "resolved\n"
    assert not git(directory, "status", "--porcelain")
    text = report.read_text()
    assert "from `v1.0.0` to `v1.1.0`" in text
    assert "`https://example.com/groundwork.git`" in text
    assert "| conflicts | none |" in text
    assert "| `make check` | passed |" in text
    assert "twelve passed" in text


def test_what_its_frontend_is_made_from_is_renewed(tmp_path: Path) -> None:
    directory, report = service(tmp_path / "service"), tmp_path / "report.md"
    (directory / "frontend").mkdir()
    (directory / "frontend/package.json").write_text("{}")
    with (directory / "Makefile").open("a") as makefile:
        makefile.write(TYPES)
    git(directory, "add", "--all")
    git(directory, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "Pages")
    assert run(directory, report).returncode == 0
    assert git(directory, "show", "HEAD:frontend/package-lock.json") == "resolved\n"
    assert "| `make frontend-types` | passed |" in report.read_text()


def test_checks_that_fail_are_told_and_stop_nothing(tmp_path: Path) -> None:
    directory, report = service(tmp_path / "service", check="false"), tmp_path / "report.md"
    ran = run(directory, report)
    assert ran.returncode == 0
    assert ran.stdout.startswith("changed=true\n")
    assert "| `make check` | **failed** |" in report.read_text()


def test_conflicts_are_named(tmp_path: Path) -> None:
    update = f"{NEWER}; printf '<<<<<<< before\\nmine\\n=======\\nours\\n>>>>>>> after\\n' > app.py"
    directory, report = service(tmp_path / "service", update=update), tmp_path / "report.md"
    assert run(directory, report).stdout.startswith("changed=true\n")
    assert "| conflicts | `app.py` |" in report.read_text()


def test_nothing_new_changes_nothing(tmp_path: Path) -> None:
    directory, report = service(tmp_path / "service", update="true"), tmp_path / "report.md"
    before = git(directory, "rev-parse", "HEAD")
    ran = run(directory, report)
    assert ran.stdout == "changed=false\n"
    assert git(directory, "rev-parse", "HEAD") == before
    assert not report.exists()


@pytest.mark.parametrize(
    ("update", "dirty", "said"),
    [
        ("echo no such tag; false", False, "no such tag"),
        (NEWER, True, "there are changes that are not committed"),
        ("sed -i 's/v1.0.0/v1; make a/' .copier-answers.yml", False, "names no version: 'v1; make"),
    ],
    ids=["impossible", "dirty", "no version"],
)
def test_what_cannot_be_updated_is_left_alone(
    update: str, dirty: bool, said: str, tmp_path: Path
) -> None:
    directory, report = service(tmp_path / "service", update=update), tmp_path / "report.md"
    if dirty:
        (directory / "app.py").write_text("mine\n")
    ran = run(directory, report)
    assert ran.returncode == 1
    assert said in ran.stderr
    assert not ran.stdout
    assert not report.exists()


@pytest.mark.parametrize("here", [True, False])
def test_a_template_of_another_machine_is_told(here: bool, tmp_path: Path) -> None:
    directory, report = service(tmp_path / "service"), tmp_path / "report.md"
    source = tmp_path if here else tmp_path / "gone"
    answers = ANSWERS.format("v1.0.0").replace("https://example.com/groundwork.git", str(source))
    (directory / ".copier-answers.yml").write_text(answers)
    git(directory, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "Move")
    ran = run(directory, report)
    assert ran.returncode == (0 if here else 1), ran.stderr
    assert ("write the address of the template's repository" in ran.stderr) is not here


# --- What is pushed ------------------------------------------------------------------------------

PUSH = ROOT / "template/deploy/pipeline/push_update.py"
BRANCH = "template-update"
PERSON = ("-c", "user.name=a", "-c", "user.email=a@b")


def pushed(directory: Path, remote: Path | str) -> subprocess.CompletedProcess[str]:
    """Push an update as a pipeline does: made in one clone, and pushed from another."""
    maker, pusher = directory / "maker", directory / "pusher"
    for clone in (maker, pusher):
        shutil.rmtree(clone, ignore_errors=True)
        git(directory, "clone", "--quiet", "--branch", "main", str(directory / "hub"), str(clone))
    assert run(maker, directory / "report.md").returncode == 0
    git(maker, "bundle", "create", "--quiet", str(directory / "update.bundle"), "origin/main..HEAD")
    git(pusher, "fetch", "--quiet", str(directory / "update.bundle"), "HEAD")
    return subprocess.run(
        [sys.executable, "-I", str(PUSH), str(remote), BRANCH],
        cwd=pusher,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """The repository of a service, with the branch of an update."""
    directory = service(tmp_path / "hub")
    git(directory, "branch", "--move", "main")
    assert pushed(tmp_path, "origin").returncode == 0
    return directory


def theirs(hub: Path) -> str:
    """Commit something to the branch of the update, as a person who resolves a conflict."""
    clone = hub.parent / "person"
    git(hub.parent, "clone", "--quiet", "--branch", BRANCH, str(hub), str(clone))
    (clone / "app.py").write_text("resolved\n")
    git(clone, *PERSON, "commit", "-qam", "Resolve")
    git(clone, "push", "--quiet")
    return git(hub, "rev-parse", BRANCH)


def test_an_update_takes_the_place_of_the_one_before(hub: Path) -> None:
    before = git(hub, "rev-parse", BRANCH)
    git(hub, *PERSON, "commit", "-q", "--allow-empty", "-m", "Go on")
    ran = pushed(hub.parent, "origin")
    assert ran.returncode == 0, ran.stderr
    assert git(hub, "rev-parse", BRANCH) != before
    assert git(hub, "rev-parse", f"{BRANCH}~1") == git(hub, "rev-parse", "main")


def test_what_others_have_pushed_to_its_branch_stays(hub: Path) -> None:
    tip = theirs(hub)
    git(hub, *PERSON, "commit", "-q", "--allow-empty", "-m", "Go on")
    ran = pushed(hub.parent, hub)
    assert ran.returncode == 1
    assert ran.stderr == (
        "nothing was pushed: template-update has commits of a@b, which would be lost;"
        " merge that branch or delete it\n"
    )
    assert git(hub, "rev-parse", BRANCH) == tip


@pytest.mark.parametrize("command", ["merge", "delete"])
def test_a_branch_that_is_merged_or_deleted_is_free_again(command: str, hub: Path) -> None:
    tip = theirs(hub)
    if command == "merge":
        git(hub, *PERSON, "merge", "--quiet", "--no-ff", "--no-edit", BRANCH)
        answers = hub / ".copier-answers.yml"
        answers.write_text(answers.read_text().replace("v1.1.0", "v1.0.0"))
        git(hub, *PERSON, "commit", "-qam", "Go on")
    else:
        git(hub, "branch", "-D", BRANCH)
    ran = pushed(hub.parent, "origin")
    assert ran.returncode == 0, ran.stderr
    assert git(hub, "rev-parse", BRANCH) != tip
    assert git(hub, "rev-parse", f"{BRANCH}~1") == git(hub, "rev-parse", "main")


def test_a_remote_that_is_away_is_told_without_its_address(hub: Path) -> None:
    ran = pushed(hub.parent, "http://update:glpat-1@127.0.0.1:9/service.git")
    assert ran.returncode == 1
    assert ran.stderr.endswith("nothing was pushed\n")
    assert "glpat-1" not in ran.stderr


# --- The merge request on GitLab ----------------------------------------------------------------

REQUEST = ROOT / "template/deploy/pipeline/merge_request.py"
GOOD_TOKEN, OTHER_TOKEN = "glpat-1", "glpat-2"


Change = tuple[str, str, dict[str, str]]


def request(
    tmp_path: Path, opened: list[dict[str, Any]], **variables: str
) -> tuple[subprocess.CompletedProcess[str], list[Change]]:
    """Open a merge request as the pipeline does; how it went, and what GitLab was told."""
    report = tmp_path / "report.md"
    report.write_text("How it went\n")
    changes: list[Change] = []

    def answer(request: Request) -> tuple[int, Any]:
        if request.headers["PRIVATE-TOKEN"] != GOOD_TOKEN:
            return 401, {"message": "401 Unauthorized"}
        if request.method == "GET":
            assert request.query == "state=opened&source_branch=template-update"
            return 200, opened
        changes.append((request.method, request.path, request.body))
        return 200, {"web_url": f"https://gitlab.example.com{request.path}"}

    with outside(answer) as address:
        ran = subprocess.run(
            [sys.executable, "-I", str(REQUEST), "template-update", "Update", str(report)],
            env={
                "CI_API_V4_URL": f"{address}/api/v4",
                "CI_PROJECT_ID": "7",
                "CI_DEFAULT_BRANCH": "main",
                "TEMPLATE_UPDATE_TOKEN": GOOD_TOKEN,
                **variables,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    return ran, changes


def test_a_merge_request_is_opened(tmp_path: Path) -> None:
    ran, changes = request(tmp_path, [])
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "https://gitlab.example.com/api/v4/projects/7/merge_requests\n"
    text = {"title": "Update", "description": "How it went\n"}
    branches = {"source_branch": "template-update", "target_branch": "main"}
    assert changes == [("POST", "/api/v4/projects/7/merge_requests", {**branches, **text})]


def test_a_merge_request_that_is_open_is_changed(tmp_path: Path) -> None:
    _, changes = request(tmp_path, [{"iid": 4}])
    text = {"title": "Update", "description": "How it went\n"}
    assert changes == [("PUT", "/api/v4/projects/7/merge_requests/4", text)]


def test_a_token_that_is_wrong_or_missing_is_told(tmp_path: Path) -> None:
    ran, changes = request(tmp_path, [], TEMPLATE_UPDATE_TOKEN=OTHER_TOKEN)
    assert (ran.returncode, changes) == (1, [])
    assert "GitLab answered 401" in ran.stderr
    assert OTHER_TOKEN not in ran.stderr
    ran, _ = request(tmp_path, [], TEMPLATE_UPDATE_TOKEN="")
    assert ran.stderr == "TEMPLATE_UPDATE_TOKEN is not set\n"
