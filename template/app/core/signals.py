"""What happens in the service, told to whoever counts it.

A signal stands beside the code that calls it. Nobody needs to listen: then a call costs a look at
an empty tuple.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, ParamSpec

P = ParamSpec("P")


class Signal(Generic[P]):
    """One kind of thing that happens; called with what there is to say about it."""

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: tuple[Callable[P, None], ...] = ()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Tell all listeners, which must be quick and must not fail."""
        for listener in self._listeners:
            listener(*args, **kwargs)

    @contextmanager
    def heard_by(self, listener: Callable[P, None]) -> Iterator[None]:
        """Tell a listener, too, until the block is left."""
        self._listeners = (*self._listeners, listener)
        try:
            yield
        finally:
            left = list(self._listeners)
            left.remove(listener)
            self._listeners = tuple(left)
