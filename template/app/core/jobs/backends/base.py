"""The shape of a backend."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from app.core.jobs.message import Message
from app.core.piece import DegradedError

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

Start = Callable[[], AbstractAsyncContextManager[None]]
"""Starts all pieces of the service, and stops them."""


class Store(Protocol):
    """What is remembered about jobs besides the jobs; it is forgotten after some time."""

    async def claim(self, name: str, owner: str, seconds: float) -> bool:
        """Take a name that nobody has; it is free again after a time, or when it is released.

        Whoever has it may ask again, and is told that it is theirs.
        """

    async def keep(self, name: str, owner: str, seconds: float) -> None:
        """Have a name for so long from now on, if it is still the owner's."""

    async def release(self, name: str, owner: str) -> None:
        """Give a name back that one has."""

    async def put(self, name: str, text: str, seconds: float) -> None:
        """Remember a text."""

    async def get(self, name: str) -> str | None:
        """Look a text up."""


class Queue(Protocol):
    """Takes jobs."""

    @property
    def store(self) -> Store:
        """What is remembered about them."""

    async def send(self, message: Message) -> None:
        """Hand a job over; it is run at its time."""

    async def look(self) -> Mapping[str, Any]:
        """Tell operators about it.

        Raises:
            Exception: jobs are not being done.
        """


class NoWorkerError(DegradedError):
    """Jobs wait, and nobody does them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One way to carry and to run jobs.

    Attributes:
        name: what the answer is called.
        connected: holds the queue while the service runs.
        work: runs jobs in this process until it is told to stop.
        holds_on: whether a job that runs is nobody else's, however long it takes.
        apart: whether each job has a process of its own, and with it connections to databases.
    """

    name: str
    connected: "Callable[[CoreSettings], AbstractAsyncContextManager[Queue]]"
    work: "Callable[[CoreSettings, Start], None] | None" = None
    holds_on: bool = True
    apart: bool = False
