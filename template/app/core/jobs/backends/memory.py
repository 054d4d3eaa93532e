"""What is remembered about jobs by a process for itself."""

from time import monotonic

_MOST = 10_000


class MemoryStore:
    """Names and texts with an end; the oldest go when there are too many."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, float]] = {}

    async def claim(self, name: str, owner: str, seconds: float) -> bool:
        """Take a name that nobody has; asked a second time, it is still the owner's."""
        if (found := await self.get(name)) is not None:
            return found == owner
        await self.put(name, owner, seconds)
        return True

    async def keep(self, name: str, owner: str, seconds: float) -> None:
        """Have a name for longer."""
        if await self.get(name) == owner:
            await self.put(name, owner, seconds)

    async def release(self, name: str, owner: str) -> None:
        """Give a name back that one has."""
        if await self.get(name) == owner:
            del self._kept[name]

    async def put(self, name: str, text: str, seconds: float) -> None:
        """Remember a text."""
        self._kept.pop(name, None)
        if len(self._kept) >= _MOST:
            del self._kept[next(iter(self._kept))]
        self._kept[name] = (text, monotonic() + seconds)

    async def get(self, name: str) -> str | None:
        """Look a text up."""
        text, end = self._kept.get(name, ("", 0.0))
        if monotonic() < end:
            return text
        self._kept.pop(name, None)
        return None
