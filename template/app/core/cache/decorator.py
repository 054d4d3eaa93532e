"""Functions whose answers are kept.

@cached(seconds=60, tags=["rates"])
async def find_rate(currency: str) -> Rate: ...

rate = await find_rate("EUR")
await cache.invalidate("rates")
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import update_wrapper
from inspect import signature
from typing import Any, Generic, ParamSpec, TypeVar, get_type_hints

from pydantic_core import PydanticSerializationError, to_json

from app.core.cache.port import cache

ParametersT = ParamSpec("ParametersT")
ResultT = TypeVar("ResultT")

KeyBuilder = Callable[..., str]
Tags = Sequence[str] | Callable[..., Sequence[str]]


class Cached(Generic[ParametersT, ResultT]):
    """A function whose answers are kept; made by `cached`."""

    def __init__(
        self,
        function: Callable[ParametersT, Awaitable[ResultT]],
        *,
        seconds: float,
        key: KeyBuilder | None,
        tags: Tags,
        shared: bool,
    ) -> None:
        self._function = function
        self._signature = signature(function)
        self._seconds = seconds
        self._key = key
        self._tags = tags
        self._shared = shared
        update_wrapper(self, function)

    async def __call__(self, *args: ParametersT.args, **kwargs: ParametersT.kwargs) -> ResultT:
        """Give what is kept for these arguments, or call the function and keep its answer."""
        result: ResultT = await cache.remember(
            self.key_of(*args, **kwargs),
            lambda: self._function(*args, **kwargs),
            kind=get_type_hints(self._function).get("return", Any),
            seconds=self._seconds,
            tags=self._tags(*args, **kwargs) if callable(self._tags) else self._tags,
            shared=self._shared,
        )
        return result

    def key_of(self, *args: ParametersT.args, **kwargs: ParametersT.kwargs) -> str:
        """Name the key of these arguments, as `cache.forget_after_commit` wants it.

        Raises:
            TypeError: an argument is no JSON, and nobody has said how to name the key.
        """
        if self._key is not None:
            return self._key(*args, **kwargs)
        function = self._function
        given = self._signature.bind(*args, **kwargs)
        given.apply_defaults()
        try:
            arguments = to_json(given.arguments).decode()
        except PydanticSerializationError:
            raise TypeError(
                f"{function.__qualname__} has an argument that is no JSON: give @cached a key"
            ) from None
        return f"{function.__module__}.{function.__qualname__}{arguments}"

    async def forget(self, *args: ParametersT.args, **kwargs: ParametersT.kwargs) -> None:
        """Remove what is kept for these arguments."""
        await cache.delete(self.key_of(*args, **kwargs), shared=self._shared)


def cached(
    *,
    seconds: float,
    key: KeyBuilder | None = None,
    tags: Tags = (),
    shared: bool = False,
) -> Callable[
    [Callable[ParametersT, Awaitable[ResultT]]],
    Cached[ParametersT, ResultT],
]:
    """Keep the answers of an asynchronous function; see `Cache.remember`.

    What comes back is read anew from JSON, as the annotation of the result says, also the first
    time. It must depend on the arguments and the tenant only, not on who asks.

    Args:
        seconds: how long an answer is kept at most.
        key: names the key from the arguments; without it, from the function and all its arguments.
        tags: `cache.invalidate` with one of them removes the answers; or a function that gives them
            for the arguments.
        shared: whether the answers are the same for all tenants.
    """

    def decorate(
        function: Callable[ParametersT, Awaitable[ResultT]],
    ) -> Cached[ParametersT, ResultT]:
        return Cached(function, seconds=seconds, key=key, tags=tags, shared=shared)

    return decorate
