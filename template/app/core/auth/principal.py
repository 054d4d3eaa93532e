"""Who is asking, as far as the rest of the service needs to know."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Whoever a token speaks for; the same whatever provider has issued it.

    Attributes:
        subject: the provider's name for them, unique and stable.
        provider: who issued the token.
        tenant: the provider's name for their tenant (organisation), if the token names one.
        roles: what they are.
        operator: whether they may read what is for operators; no tenant gives this away.
        scopes: what the token allows.
        claims: everything that the token says.
    """

    subject: str
    provider: str
    tenant: str | None = None
    roles: frozenset[str] = frozenset()
    operator: bool = False
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
