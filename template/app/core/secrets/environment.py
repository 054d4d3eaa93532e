"""Secrets without a store: the environment has the service's own, memory keeps the others.

What is written is gone with the process. That is enough for tests and development; what must last
needs a real store.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pydantic import SecretStr

from app.core.piece import Check, Details
from app.core.secrets.port import Secret, SecretConflictError, Store, Values

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

CHECKS: tuple[Check, ...] = ()


class MemoryStore:
    """Documents and their versions in memory."""

    def __init__(self) -> None:
        self._versions: dict[str, list[Values | None]] = {}

    async def get(self, path: str, version: int | None) -> Secret | None:
        """Read a document, its newest version or an older one."""
        versions = self._versions.get(path, [])
        number = len(versions) if version is None else version
        if not 1 <= number <= len(versions):
            return None
        values = versions[number - 1]
        return None if values is None else Secret(values, number)

    async def put(self, path: str, values: Mapping[str, str], version: int | None) -> int:
        """Write a document, if its version is still this one, and give the new version."""
        versions = self._versions.setdefault(path, [])
        there_is_none = not versions or versions[-1] is None
        if version not in {None, len(versions)} and not (version == 0 and there_is_none):
            raise SecretConflictError("The secret was changed meanwhile: read it again")
        versions.append({name: SecretStr(value) for name, value in values.items()})
        return len(versions)

    async def delete(self, path: str) -> None:
        """Remove the newest version."""
        if versions := self._versions.get(path):
            versions[-1] = None

    async def list(self, path: str) -> Sequence[str]:
        """Name what is below a path; what has more below it ends with a slash."""
        start = f"{path}/" if path else ""
        below = [name.removeprefix(start) for name in self._versions if name.startswith(start)]
        heads = (name.partition("/") for name in below)
        return sorted({head + slash for head, slash, _ in heads})

    async def refresh(self) -> None:
        """Nothing: the environment of a process does not change."""

    def describe(self) -> Details:
        """Say how it is, for operators."""
        return {"source": "environment"}


@asynccontextmanager
async def open_store(
    _settings: "CoreSettings", _take_up: Callable[[Values], None]
) -> AsyncIterator[Store]:
    """Hold the store while the service runs."""
    yield MemoryStore()
