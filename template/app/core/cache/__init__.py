"""Keeping what is slow to find out, and locking. Import what you use from here.

The same calls work whatever stands behind them: Redis, for all processes together, or the memory of
this process, for itself alone. Nothing is kept for ever, and nothing may be kept here only: a value
can be gone at any moment.

A key belongs to the tenant at hand; say `shared=True` for what is the same for all.
"""

from app.core.cache.decorator import cached as cached
from app.core.cache.locks import LockLostError as LockLostError
from app.core.cache.locks import LockTakenError as LockTakenError
from app.core.cache.locks import lock as lock
from app.core.cache.port import cache as cache
