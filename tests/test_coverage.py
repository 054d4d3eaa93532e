"""How much of what can be chosen is really run; it may only rise."""

from collections.abc import Callable

import pytest

from tests.support.matrix import Matrix
from tests.support.render import Renderer
from tests.support.services import Services
from tests.support.template import Template

SERVICES = Services(Matrix(Template()), Renderer(Template()))
NAMES = {1: "values", 2: "pairs", 3: "triples"}
SHARE_OF_TRIPLES = 0.80
"""What the services that each run starts have of all legal triples; raise it with them."""


@pytest.mark.parametrize(("strength", "share"), [(1, 1), (2, 1), (3, SHARE_OF_TRIPLES)])
def test_so_much_is_run(
    strength: int, share: float, record_property: Callable[[str, object], None]
) -> None:
    run, legal = SERVICES.covered(SERVICES.chosen, strength)
    record_property("covered", f"{run} of {legal} legal {NAMES[strength]} of answers are run")
    assert run / legal >= share


def test_a_sample_of_triples_has_them_all() -> None:
    matrix, names = SERVICES.matrix, ("database", "auth", "tenancy", "vault")
    run, legal = matrix.covered(matrix.covering(names, strength=3), names, strength=3)
    assert run == legal
