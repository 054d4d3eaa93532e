"""Vault: how long we are known to it, and whether it answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge

from app.core.metrics.sources.base import Look, nothing_to_look_at
from app.core.secrets.vault.session import session_for
from app.core.secrets.vault.store import refresh_failed

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


@contextmanager
def source(settings: "CoreSettings", registry: CollectorRegistry) -> Iterator[Look]:
    """Measure Vault, where it is asked; see `Source`."""
    if not settings.asks_vault:
        yield nothing_to_look_at
        return
    session = session_for(settings)
    left = Gauge(
        "vault_token_seconds_left",
        "How long the token lives if nobody renews it",
        registry=registry,
        multiprocess_mode="livemin",
    )
    failures = Counter(
        "vault_refresh_failures", "Looks for changed secrets that have failed", registry=registry
    )

    def look() -> None:
        left.set(session.seconds_left())

    with refresh_failed.heard_by(failures.inc):
        yield look
