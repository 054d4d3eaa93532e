"""What it takes to render a service: by Copier, and by the fast renderer of the tests."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import process_time

from copier import run_copy

from benchmarks.figures import Effort, Figure, in_turn, ratios
from benchmarks.programs import directory
from tests.support.answers import Resolver
from tests.support.matrix import Matrix
from tests.support.render import Renderer
from tests.support.template import Answers, Template
from tests.support.worktree import copy_template

NAMES = ("rendering",)

FLAT = "Copier, as many empty files in one place"
EMPTIED = "Copier, the template's own files, empty"
"""Copier renders each part of each path, also of files that it then leaves out."""
SETTINGS = "_subdirectory: template\n"


def measure(_: Sequence[str], effort: Effort) -> Iterator[Figure]:
    """Render the default service, and others."""
    with directory() as place:
        template = Template(copy_template(place / "template"))
        default = Resolver(template).resolve()
        rendered = Renderer(template).tree(default)
        flat = _empty((f"file{each}" for each in range(len(rendered))), place / "flat")
        emptied = _empty(_paths(template.root / "template"), place / "emptied")
        presets = [default] if effort.brief else list(Matrix(template).presets().values())
        target = place / "service"
        found = in_turn(
            effort.few,
            {
                FLAT: partial(_seconds, partial(_by_copier, flat, target)),
                EMPTIED: partial(_seconds, partial(_by_copier, emptied, target)),
                "Copier": partial(_seconds, partial(_by_copier, template.root, target)),
                "fast renderer, its first": partial(
                    _seconds, partial(_render, template, [default])
                ),
                f"fast renderer, each of {len(presets)} presets": partial(
                    _seconds, partial(_render, template, presets), len(presets)
                ),
            },
        )
    for of, every in found.items():
        marks = ["Copier"] if "fast" in of else [EMPTIED, FLAT] if of == "Copier" else []
        yield Figure(
            name="rendering",
            of=of,
            unit="s CPU",
            values=every,
            ratios=ratios(every, {mark: found[mark] for mark in marks}),
        )


def _seconds(work: Callable[[], None], parts: int = 1) -> float:
    started = process_time()
    work()
    return (process_time() - started) / parts


def _by_copier(template: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    run_copy(str(template), target, defaults=True, quiet=True)


def _render(template: Template, services: Sequence[Answers]) -> None:
    renderer = Renderer(template)
    for answers in services:
        renderer.tree(answers)


def _paths(directory: Path) -> Iterator[str]:
    for path in directory.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(directory))


def _empty(paths: Iterable[str], target: Path) -> Path:
    """Write a template of empty files."""
    for path in paths:
        file = target / "template" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (target / "copier.yml").write_text(SETTINGS, "utf-8")
    return target
