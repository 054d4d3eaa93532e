"""How often something may be tried, counted in the database so that all processes share it.

It fails closed: when the database does not answer, nobody signs in. Each count ends by itself, at
the latest after its window, so nobody is locked out for ever, and made-up names are forgotten.
"""

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.audit import audit
from app.core.auth.local.models import HOME, Attempt
from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.types import utc_now
from app.core.errors import RateLimitedError

QUARTER, HOUR = timedelta(minutes=15), timedelta(hours=1)
_IPV6_NETWORK = 64
"""What one subscriber gets: whoever has one address of it has all of them."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How often within which time.

    Attributes:
        name: what is counted.
        most: how often it may happen in a window.
        window: how long it is counted; it begins with the first time.
    """

    name: str
    most: int
    window: timedelta


PAIR = Limit("account from an address", 5, QUARTER)
ADDRESS = Limit("address", 50, QUARTER)
ACCOUNT = Limit("account", 50, QUARTER)
"""From everywhere. It does not hold for an address at which the account is signed in: whoever
guesses from elsewhere does not lock its owner out."""
TOKEN = Limit("token from a mail", 5, QUARTER)
"""Each try costs a hash, and a token that serves no end is easily had: by registering."""
MAILS = Limit("mails to an address", 5, HOUR)
RESETS = Limit("mails to choose a new password", 5, HOUR)
"""Counted for themselves: whoever has others mailed to somebody does not keep them from these."""
MAILERS = Limit("mails caused by an address", 20, HOUR)


@dataclass(frozen=True, slots=True)
class Count:
    """A count after this try."""

    limit: Limit
    key: str
    count: int
    expires_at: datetime

    @property
    def exceeded(self) -> bool:
        """Whether this try was one too many."""
        return self.count > self.limit.most

    def refuse(self) -> RateLimitedError:
        """Say when to come again."""
        audit("throttle.exceeded", limit=self.limit.name)
        seconds = max(1, round((self.expires_at - utc_now()).total_seconds()))
        return RateLimitedError("Too many attempts: try again later", retry_after=seconds)


def network(address: str) -> str:
    """What one caller has at hand: an IPv4 address, or a network of IPv6 addresses."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _IPV6_NETWORK), strict=False))


def key_of(limit: Limit, who: str) -> str:
    """Name a count without telling of whom it is."""
    return hashlib.sha256(f"{limit.name}|{who}".encode()).hexdigest()


async def count(*tries: tuple[Limit, str]) -> list[Count]:
    """Count tries, in a transaction of their own: they count whatever comes of them."""

    async def work(session: AsyncSession) -> list[Count]:
        return [await _count(session, limit, key_of(limit, who)) for limit, who in tries]

    return await HOME.in_transaction(work)


async def _count(session: AsyncSession, limit: Limit, key: str) -> Count:
    now = utc_now()
    running = Attempt.expires_at > now
    end = now + limit.window
    # The count stands first: MySQL assigns in order, and it looks at the old end.
    await session.execute(
        FLAVOUR.upsert(
            Attempt.__table__,
            {"key": key, "count": 1, "expires_at": end},
            {
                "count": case((running, Attempt.count + 1), else_=1),
                "expires_at": case((running, Attempt.expires_at), else_=end),
            },
        )
    )
    found = await session.execute(
        select(Attempt.count, Attempt.expires_at).where(Attempt.key == key)
    )
    number, expires_at = found.one()
    return Count(limit, key, number, expires_at)


async def forgive(session: AsyncSession, *counts: Count) -> None:
    """Take tries back that were no guesses."""
    for each in counts:
        await session.execute(
            update(Attempt)
            .where(Attempt.key == each.key, Attempt.count > 0)
            .values(count=Attempt.count - 1)
        )


async def forget(session: AsyncSession, limit: Limit, who: str) -> None:
    """Begin to count anew."""
    await session.execute(delete(Attempt).where(Attempt.key == key_of(limit, who)))
