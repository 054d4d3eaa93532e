"""The order in which several processes run the tests."""

from collections.abc import Callable, Iterator, Sequence
from itertools import filterfalse, islice
from typing import TypeVar

T = TypeVar("T")

SLOW = (
    "test_own_tests",
    "test_keys_change_under_load",
    "test_service_passes_its_own_checks",
    "test_a_frontend_checks_itself_and_is_used",
    "test_data_outlives_every_switch",
    "test_the_outbox_loses_nothing_and_does_nothing_twice",
    "test_an_answer_is_flipped_and_flipped_back",
)
"""Each of them takes a minute or more."""


def slow_first(items: Sequence[T], is_slow: Callable[[T], bool], processes: int) -> list[T]:
    """Deal the slow ones to the heads of the parts that xdist gives to its processes.

    With `--dist worksteal` each process gets an equal part to begin with, in the order of
    collection, and takes from the end of others' when it has done its own. The next one of a
    process cannot be taken from it: two slow ones at the end keep it busy alone.

    Args:
        items: what is run.
        is_slow: whether one of them takes long.
        processes: how many there are.
    """
    slow = list(filter(is_slow, items))
    others = filterfalse(is_slow, items)
    order: list[T] = []
    for part, size in enumerate(_sizes(len(items), processes)):
        head = slow[part::processes]
        order += [*head, *islice(others, max(0, size - len(head)))]
    return [*order, *others]


def _sizes(number: int, parts: int) -> Iterator[int]:
    """Divide as xdist does (`WorkStealingScheduling.check_schedule`)."""
    for remaining in range(parts, 0, -1):
        size = number // remaining
        yield size
        number -= size
