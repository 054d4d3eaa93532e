"""What travels: which job, with what, and what it belongs to. JSON, whatever carries it."""

from datetime import datetime
from hashlib import blake2b
from typing import Any

from pydantic import BaseModel

LONGEST_ID = 64
"""What the columns of an outbox hold."""


class Message(BaseModel):
    """A job on its way.

    Attributes:
        id: stays the same when the job is done again.
        task: the name of the task.
        arguments: as `Task.dump` has written them.
        attempt: counts the runs, from 1.
        not_before: when it may be run.
        key: what keeps others like it away, see `Task.key`.
        once: whether what comes twice is done once.
        kept: whether it must not be lost, so that it is tried for ever.
        tenant: whose job it is.
        request_id: the request that asked for it.
        traceparent: the trace that it belongs to.
    """

    id: str
    task: str
    arguments: dict[str, Any]
    attempt: int = 1
    not_before: datetime | None = None
    key: str | None = None
    once: bool = False
    kept: bool = False
    tenant: str | None = None
    request_id: str | None = None
    traceparent: str | None = None


def id_of(task: str, moment: datetime) -> str:
    """Name the job of a task that comes by itself: the same in all processes."""
    at = f"@{moment:%Y-%m-%dT%H:%M:%S}"
    if len(task) + len(at) > LONGEST_ID:
        task = blake2b(task.encode(), digest_size=16).hexdigest()
    return f"{task}{at}"
