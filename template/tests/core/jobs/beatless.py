"""A worker whose beat ends at once: `python -m tests.core.jobs.beatless`."""

import os
from typing import Any, Never

from app.config import Settings
from app.core.jobs.backends.celery import Claiming
from app.core.jobs.worker import work
from app.core.settings import load_settings


def end(*_: Any, **__: Any) -> Never:
    """End this process as one that is killed, by the system say, when memory runs out."""
    os._exit(9)


if __name__ == "__main__":
    Claiming.tick = end
    work(load_settings(Settings))
