"""What a job is: a function with typed arguments, and how it is to be run.

A function that takes a session first is given one by the foundation: one transaction per run,
committed when the function returns. It is not among the arguments of `enqueue`.
"""

import inspect
import json
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import (
    Any,
    Concatenate,
    Generic,
    NamedTuple,
    ParamSpec,
    Protocol,
    TypeVar,
    get_type_hints,
    overload,
)

from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model
from pydantic.errors import PydanticInvalidForJsonSchema
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.handle import Database
from app.core.database.layout import DATABASES
from app.core.jobs.schedule import Schedule, parse_schedule

P = ParamSpec("P")
R = TypeVar("R")

TASKS: "dict[str, Task[..., Any]]" = {}
"""All tasks by their name."""

_USER_PACKAGE = "app.jobs."


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """What happens to a job that fails: it is done again, each time later.

    By default for half an hour or so: a database that is restored, or moved, is waited for.

    Attributes:
        times: how often at most; 0 is never. A job of an `Outbox` goes on after them, with an error
            in the log each time.
        first: seconds before the first time; each further one waits twice as long.
        longest: seconds that no wait exceeds.
    """

    times: int = 12
    first: float = 2.0
    longest: float = 600.0

    def wait(self, attempt: int) -> float:
        """Seconds to wait after an attempt, the first of which is 1: from half of it to all."""
        # The exponent is bounded, since a float is. A job that goes on has waited long enough for
        # what passes by itself.
        doubled = self.first * 2.0 ** min(attempt - 1, 64)
        whole = self.longest if attempt > self.times else min(doubled, self.longest)
        return whole * random.uniform(0.5, 1)  # noqa: S311 - spreads the load


DEFAULT_RETRIES = Retries()


class Shape(NamedTuple):
    """What a function takes and gives.

    Attributes:
        takes_session: whether its first argument is one that the foundation makes.
        signature: its other arguments.
        arguments: the same, as they are checked, written and read.
        result: writes and reads what it returns.
    """

    takes_session: bool
    signature: inspect.Signature
    arguments: type[BaseModel]
    result: "TypeAdapter[Any]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(Generic[P, R]):
    """A function that can be enqueued; made by `task`.

    Attributes:
        function: the function itself, for calling it at once.
        name: what it is called in messages and logs.
        shape: what it takes and gives.
        retries: what happens when it fails.
        time_limit: how long one run may take; without one, `JOBS_TIME_LIMIT_SECONDS`.
        keeps_result: whether `Job.result` can be asked for.
        schedule: when it comes by itself.
        once: whether a job that comes twice is done once, at the price of a row for each.
        database: where its session leads.
        delay: how long it waits before its first run.
        key: while a job of this name and key waits, no other is enqueued.
    """

    function: Callable[..., Awaitable[R]]
    name: str
    shape: Shape
    retries: Retries = DEFAULT_RETRIES
    time_limit: timedelta | None = None
    keeps_result: bool = False
    schedule: Schedule | None = None
    once: bool = False
    database: Database = DATABASES[0]
    delay: timedelta = timedelta()
    key: str | None = None

    def options(self, *, delay: timedelta = timedelta(), key: str | None = None) -> "Task[P, R]":
        """The same task, to be enqueued in another way: `enqueue(greet.options(delay=…), name)`."""
        return replace(self, delay=delay, key=key)

    @property
    def takes_session(self) -> bool:
        """Whether the function is given a session."""
        return self.shape.takes_session

    @property
    def result_type(self) -> "TypeAdapter[Any]":
        """Writes and reads what the function returns."""
        return self.shape.result

    def dump(self, *args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        """Check arguments, and write them as JSON has them.

        Raises:
            TypeError: they are not the function's.
            ValueError: one of them is not of its type.
        """
        bound = self.shape.signature.bind(*args, **kwargs).arguments
        return self.shape.arguments(**bound).model_dump(mode="json")

    def load(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Read arguments as `dump` has written them.

        Raises:
            ValueError: they are not what the function takes (any more).
        """
        read = self.shape.arguments.model_validate_json(json.dumps(arguments))
        return {name: getattr(read, name) for name in type(read).model_fields}


class Decorator(Protocol):
    """What `task(...)` with options gives."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[AsyncSession, P], Awaitable[R]], /
    ) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> Task[P, R]: ...


@overload
def task(function: Callable[Concatenate[AsyncSession, P], Awaitable[R]], /) -> Task[P, R]: ...
@overload
def task(function: Callable[P, Awaitable[R]], /) -> Task[P, R]: ...
@overload
def task(
    *,
    name: str | None = None,
    retries: Retries = DEFAULT_RETRIES,
    time_limit: timedelta | None = None,
    keeps_result: bool = False,
    schedule: str | timedelta | None = None,
    once: bool = False,
    database: Database = DATABASES[0],
) -> Decorator: ...
def task(
    function: Callable[..., Awaitable[Any]] | None = None,
    /,
    *,
    name: str | None = None,
    schedule: str | timedelta | None = None,
    once: bool = False,
    **options: Any,
) -> Any:
    """Make a function a job: `@task`, or `@task(...)` with what `Task` describes.

    A schedule is what cron writes (`"30 3 * * *"`, in UTC) or a distance (`timedelta`); such a
    function has no arguments without a default.

    Raises:
        TypeError: the function cannot be a job; the message says why.
        ValueError: there is a task of this name already, or the schedule is none.
    """

    def make(function: Callable[..., Awaitable[Any]]) -> Task[..., Any]:
        made: Task[..., Any] = Task(
            function=function,
            name=name or _name_of(function),
            shape=_shape_of(function),
            schedule=None if schedule is None else parse_schedule(schedule),
            once=once,
            **options,
        )
        if once and not made.takes_session:
            raise TypeError(f"the task {made.name!r} must take a session first, to be done once")
        if made.schedule is not None:
            made.dump()
        if made.name in TASKS:
            raise ValueError(f"there are two tasks with the name {made.name!r}: give one another")
        TASKS[made.name] = made
        return made

    return make if function is None else make(function)


def longest_limit(limit: float) -> float:
    """Give the seconds that a job may take whose task may take longest.

    Args:
        limit: how many seconds one may take whose task does not say so.
    """
    own = (task.time_limit.total_seconds() for task in TASKS.values() if task.time_limit)
    return max([limit, *own])


def _name_of(function: Callable[..., Any]) -> str:
    return f"{function.__module__.removeprefix(_USER_PACKAGE)}.{function.__qualname__}"


def _refuse_secrets(name: str, arguments: type[BaseModel]) -> None:
    """Refuse what writes itself as asterisks: the job would work with these."""
    with suppress(PydanticInvalidForJsonSchema):
        if '"writeOnly": true' in json.dumps(arguments.model_json_schema(), default=str):
            raise TypeError(
                f"the task {name!r} takes a secret, which does not travel: store it encrypted, give"
                " the id of its row, and read it in the job"
            )


def _shape_of(function: Callable[..., Any]) -> Shape:
    name = function.__qualname__
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"the task {name!r} must be an `async def`")
    hints = get_type_hints(function, include_extras=True)
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    takes_session = bool(parameters) and hints.get(parameters[0].name) is AsyncSession
    fields: dict[str, Any] = {}
    others = parameters[takes_session:]
    for each in others:
        plain = each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
        if each.name not in hints or not plain:
            raise TypeError(f"the task {name!r} needs a plain parameter with a type: {each}")
        default = ... if each.default is each.empty else each.default
        fields[each.name] = (hints[each.name], default)
    for one, field in fields.items():
        alone: dict[str, Any] = {one: field}
        _refuse_secrets(name, create_model(name, **alone))
    model = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
    result: TypeAdapter[Any] = TypeAdapter(hints.get("return", Any))
    return Shape(takes_session, signature.replace(parameters=others), model, result)
