"""What a source of figures is."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

if TYPE_CHECKING:
    from app.core.registry import CoreSettings

Look = Callable[[], None]
"""Sets the gauges of what is not told by signals, in this process. Must be quick."""

Source = Callable[["CoreSettings", CollectorRegistry], AbstractContextManager[Look]]
"""Makes the instruments of one subject, and listens until the block is left.

Gauges say how those of several processes become one (`multiprocess_mode`).
"""


def nothing_to_look_at() -> None:
    """Do nothing: all is told by signals."""
