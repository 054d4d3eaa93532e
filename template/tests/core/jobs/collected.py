"""Jobs that run when a test says so."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from app.core.jobs.backends.memory import MemoryStore
from app.core.jobs.message import Message
from app.core.jobs.running import run


class Collected:
    """The jobs that were enqueued; what they are carried by is shown elsewhere."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.waiting: list[Message] = []

    async def send(self, message: Message) -> None:
        self.waiting.append(message)

    async def look(self) -> Mapping[str, Any]:
        return {"waiting": len(self.waiting)}

    async def run_all(self) -> list[str]:
        """Run what waits, and what that enqueues, whatever its time; name the jobs."""
        ran = []
        while self.waiting:
            message = self.waiting.pop(0)
            ran.append(message.task)
            now = message.model_copy(update={"not_before": None, "kept": False})  # not for ever
            await run(now, self, timedelta(seconds=30))
        return ran
