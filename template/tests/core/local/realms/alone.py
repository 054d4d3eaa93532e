"""Users belong to the service."""

from app.core.auth.local.realms.realm import Realm

PUBLIC: frozenset[str] = frozenset()


def founding(_email: str) -> dict[str, str]:
    """What a registration says besides."""
    return {}


def naming(_email: str) -> dict[str, str]:
    """What a sign-in says besides."""
    return {}


def giving(_email: str) -> list[str]:
    """What a command line says besides."""
    return []


async def realm_of(_email: str) -> Realm:
    """The realm of a user."""
    return None
