"""Traces are passed on as they came: this service adds nothing to them."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType

from app.core import context

_NOTHING: AbstractContextManager[None] = nullcontext()
_NO_IDENTIFIERS: Mapping[str, str] = MappingProxyType({})


def traceparent() -> str | None:
    """What those are told whom this service asks: the caller's trace."""
    return context.traceparent.get()


def identifiers() -> Mapping[str, str]:
    """What each log line says of the trace."""
    return _NO_IDENTIFIERS


def step(_: str, **__: str) -> AbstractContextManager[None]:
    """Take a step of the trace at hand in the block: a question to something else."""
    return _NOTHING


def failed(_: Exception) -> None:
    """Tell the trace that the step or the job at hand has failed, where it does not raise."""


def job(_: str, __: str | None) -> AbstractContextManager[None]:
    """Do a job in the block, as part of the trace of whoever has enqueued it."""
    return _NOTHING
