"""What it takes to render a service: by Copier, and by the fast renderer of the tests."""

import shutil
from collections.abc import Callable, Iterator, Sequence
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

EMPTY = "Copier, as many empty files"
SETTINGS = "_subdirectory: template\n"


def measure(_: Sequence[str], effort: Effort) -> Iterator[Figure]:
    """Render the default service, and others."""
    with directory() as place:
        template = Template(copy_template(place / "template"))
        default = Resolver(template).resolve()
        empty = _as_many(len(Renderer(template).tree(default)), place / "empty")
        presets = [default] if effort.brief else list(Matrix(template).presets().values())
        target = place / "service"
        found = in_turn(
            effort.few,
            {
                EMPTY: partial(_seconds, partial(_by_copier, empty, target)),
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
        marks = {"Copier": found["Copier"]} if "fast" in of else {EMPTY: found[EMPTY]}
        yield Figure(
            name="rendering",
            of=of,
            unit="s CPU",
            values=every,
            ratios={} if of == EMPTY else ratios(every, marks),
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


def _as_many(number: int, target: Path) -> Path:
    """Write a template of so many empty files."""
    (target / "template").mkdir(parents=True)
    (target / "copier.yml").write_text(SETTINGS, "utf-8")
    for each in range(number):
        (target / "template" / f"file{each}").touch()
    return target
