"""Users by their e-mail addresses: each address belongs to one user of the service."""

import uuid

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.auth.local.models import User, UserRole


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
