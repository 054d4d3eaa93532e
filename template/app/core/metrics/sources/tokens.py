"""The tokens that callers send."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter

from app.core.auth.bearer import token_refused
from app.core.metrics.sources.base import Look, nothing_to_look_at

if TYPE_CHECKING:
    from app.core.registry import CoreSettings


@contextmanager
def source(_: "CoreSettings", registry: CollectorRegistry) -> Iterator[Look]:
    """Count tokens that are not accepted; see `Source`."""
    counter = Counter(
        "tokens_refused", "Tokens that were not accepted", ["reason"], registry=registry
    )
    with token_refused.heard_by(lambda reason: counter.labels(reason).inc()):
        yield nothing_to_look_at
