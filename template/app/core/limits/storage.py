"""Where requests are counted."""

from app.core.limits.memory import build_storage

__all__ = ["build_storage"]
