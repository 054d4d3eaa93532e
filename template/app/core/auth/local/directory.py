"""Users by their e-mail addresses: each address belongs to one user of the service."""

import uuid

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.auth.local.models import User, UserIdentity, UserRole


async def find_user(session: AsyncSession, email: str) -> User | None:
    """Find whoever has an address; disabled ones too."""
    found: User | None = await session.scalar(select(User).where(User.email == email))
    return found


async def add_user(session: AsyncSession, email: str, password_hash: str | None) -> User:
    """Store a user whose address is verified."""
    user = User(email=email, password_hash=password_hash)
    session.add(user)
    await session.flush()
    return user


async def add_role(session: AsyncSession, user_id: uuid.UUID, role: str) -> bool:
    """Give a user a role; tells whether it is a new one."""
    if await session.get(UserRole, (user_id, role)) is not None:
        return False
    session.add(UserRole(user_id=user_id, role=role))
    await session.flush()
    return True


async def remove_role(session: AsyncSession, user_id: uuid.UUID, role: str) -> bool:
    """Take a role from a user; tells whether there was one."""
    found = await session.get(UserRole, (user_id, role))
    if found is None:
        return False
    await session.delete(found)
    await session.flush()
    return True


async def providers_of(session: AsyncSession, user_id: uuid.UUID) -> list[str]:
    """The providers through which a user may sign in, in order."""
    found = await session.scalars(
        select(UserIdentity.provider)
        .where(UserIdentity.user_id == user_id)
        .distinct()
        .order_by(UserIdentity.provider)
    )
    return list(found)


async def remove_identities(session: AsyncSession, user_id: uuid.UUID, provider: str) -> bool:
    """Forget whom a provider knows a user as; tells whether it knew them."""
    found = list(
        await session.scalars(
            select(UserIdentity).where(
                UserIdentity.user_id == user_id, UserIdentity.provider == provider
            )
        )
    )
    for each in found:
        await session.delete(each)
    await session.flush()
    return bool(found)
