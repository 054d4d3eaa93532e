"""The Kubernetes manifests: built by kustomize, fit together, and accepted by every validator."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.effects import Overlay, missing
from tests.support.kubernetes import (
    OVERLAYS,
    PLACE,
    Object,
    build,
    kustomize,
    schema_faults,
    supply_secrets,
)
from tests.support.matrix import Matrix
from tests.support.references import Manifests, faults
from tests.support.render import Renderer
from tests.support.template import Answers, Template

TEMPLATE = Template()
MATRIX = Matrix(TEMPLATE)
RENDERER = Renderer(TEMPLATE)
PATHS = [path for path in RENDERER.sources if path.startswith(f"{PLACE}/")]

SHAPING = ("database", "databases", "tenancy", "vault", "worker", "encryption")
"""Questions whose components patch what others made: all their combinations are built. The others
only add objects or variables, so it is enough to meet each pair of them."""

RICH: dict[str, Answers] = {
    "postgresql": {
        "tenancy": True,
        "auth": "local",
        "vault": True,
        "worker": "taskiq",
        "encryption": True,
        "gateway": True,
        "external_api": "bybit",
    },
    "sqlite": {"database": "sqlite", "vault": True, "worker": "celery", "encryption": True},
    "mysql": {"database": "mysql", "databases": "dual", "worker": "arq", "encryption": True},
}
"""Services that have every component together."""


def needs_kustomize() -> None:
    """Skip where there is no kustomize."""
    try:
        kustomize()
    except LookupError as error:
        pytest.skip(str(error))


def render(answers: Answers, directory: Path) -> Path:
    """Write the manifests of a service, with secret files as its operators put them there."""
    excluded = RENDERER.excluded(answers)
    RENDERER.write(
        {
            RENDERER.named(path, answers): RENDERER.content(path, answers)
            for path in (*PATHS, ".env.example")
            if not excluded(path)
        },
        directory,
    )
    supply_secrets(directory)
    return directory


def resolve(given: Answers) -> Answers:
    """Complete the answers of a service on Kubernetes."""
    return MATRIX.resolver.resolve({**given, "deploy": "kubernetes"})


def overlay_of(directory: Path, name: str, answers: Answers) -> Overlay:
    """Build one overlay of what was rendered."""
    listed = (directory / ".env.example").read_text("utf-8")
    documented = dict(re.findall(r"^#? ?([A-Z0-9_]+)=(.*)$", listed, re.MULTILINE))
    manifests = Manifests(build(directory / PLACE / "overlays" / name), documented)
    return Overlay(name, frozenset(answers["active"]), manifests)


def everything_wrong(overlay: Overlay) -> list[str]:
    """Give the faults of an overlay, and the effects that it does not have."""
    return [*faults(overlay.manifests), *missing(overlay)]


@pytest.mark.parametrize("database", TEMPLATE.questions["database"].choices)
def test_components_fit_together(database: str, tmp_path: Path) -> None:
    needs_kustomize()
    fixed = {"deploy": "kubernetes", "database": database}
    pieces = [name for name in TEMPLATE.pieces if _asks(name, SHAPING)]
    asked_for = {piece for path in PATHS for piece in TEMPLATE.reads(RENDERER.sources[path])[1]}
    projections = MATRIX.projections(fixed=fixed, pieces=asked_for.intersection(pieces))
    wrong = {}
    for number, projection in enumerate(projections):
        directory = render(projection.answers, tmp_path / str(number))
        for name in ("development", "production"):
            overlay = overlay_of(directory, name, projection.answers)
            if found := everything_wrong(overlay):
                wrong[number, name] = found
    assert len(projections) > 8
    assert not wrong


def _asks(piece: str, questions: tuple[str, ...]) -> bool:
    read = TEMPLATE.asked_behind(TEMPLATE.variables(TEMPLATE.pieces[piece].when))
    return bool(read & {*questions, "deploy"}) and read <= {*questions, "deploy"}


def test_every_pair_of_answers_fits(tmp_path: Path) -> None:
    needs_kustomize()
    read = {name for path in PATHS for name in TEMPLATE.switches(RENDERER.sources[path])}
    wrong: dict[Any, list[str]] = {}
    distinct: dict[str, Object] = {}
    for number, answers in enumerate(MATRIX.covering(read - {"deploy"}, {"deploy": "kubernetes"})):
        directory = render(answers, tmp_path / str(number))
        for name in OVERLAYS:
            overlay = overlay_of(directory, name, answers)
            if found := everything_wrong(overlay):
                wrong[number, name] = found
            for each in overlay.manifests.objects:
                distinct.setdefault(json.dumps(each, sort_keys=True, default=str), each)
    assert not wrong
    assert not list(schema_faults(distinct.values()))
