"""Nobody issues tokens, and nobody needs one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.core.issuing.base import Issuer

PUBLIC: frozenset[str] = frozenset()
"""Endpoints that the provider adds and leaves open."""

PRODUCTION: dict[str, str] = {}


class Nobody:
    """Issues nothing."""

    variables: dict[str, str] = {}  # noqa: RUF012 - the protocol's attribute, never changed

    def token(self, *_: object, **__: Any) -> str:
        return ""


@contextmanager
def issuing() -> Iterator[Issuer]:
    yield Nobody()
