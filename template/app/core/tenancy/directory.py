"""Which tenants there are, and whether they may come in."""

import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.core.auth import Principal
from app.core.database.base import KEPT_FOR, OWNED
from app.core.database.failures import is_outage
from app.core.database.layout import DATABASES
from app.core.database.types import utc_now
from app.core.errors import ForbiddenError, ServiceUnavailableError
from app.core.tenancy.models import Tenant, grave_of
from app.core.tenancy.owned import COLUMN, HOME
from app.core.tenancy.scope import across_tenants, as_tenant, in_directory

REMEMBERED_SECONDS = 30.0
"""How long a suspended tenant may go on."""
MOST_REMEMBERED = 10_000
DEMO = "demo"


class Directory:
    """Admits tenants, remembering them for a while so that requests need not ask."""

    def __init__(self) -> None:
        self._admitted: OrderedDict[uuid.UUID, float] = OrderedDict()

    async def admit(self, tenant_id: uuid.UUID, principal: Principal, *, create: bool) -> None:
        """Let the tenant of whoever asks in: sessions see it, and no other one, already.

        Raises:
            ForbiddenError: it is unknown or suspended.
            ServiceUnavailableError | SQLAlchemyError: the database does not answer, and it was
                never here before.
        """
        if self._is_remembered(tenant_id):
            return
        try:
            tenant = await self._find(tenant_id)
            if tenant is None and create:
                tenant = await self._create(tenant_id, principal.tenant or str(tenant_id))
        except (ServiceUnavailableError, SQLAlchemyError) as error:
            if tenant_id not in self._admitted or not is_outage(error):
                raise
            return  # not every endpoint needs this database
        self.forget(tenant_id)
        if tenant is None:
            raise ForbiddenError("The tenant of this token is not known here")
        if tenant.is_deleted:
            raise ForbiddenError("The tenant of this token was deleted")
        if tenant.suspended_at is not None:
            raise ForbiddenError("This tenant is suspended")
        self._remember(tenant_id)

    async def is_deleted(self, tenant_id: uuid.UUID) -> bool:
        """Whether a tenant is no more, as its jobs ask; where nobody can tell, it is there."""
        if self._is_remembered(tenant_id):
            return False
        try:
            tenant = await self._find(tenant_id)
        except (ServiceUnavailableError, SQLAlchemyError):
            return False
        if tenant is not None and tenant.suspended_at is None:
            self._remember(tenant_id)
        return tenant is not None and tenant.is_deleted

    def forget(self, tenant_id: uuid.UUID) -> None:
        """Ask the database again at the tenant's next request."""
        self._admitted.pop(tenant_id, None)

    def forget_all(self) -> None:
        """Ask the database again for every tenant."""
        self._admitted.clear()

    def _is_remembered(self, tenant_id: uuid.UUID) -> bool:
        return monotonic() < self._admitted.get(tenant_id, 0.0)

    def _remember(self, tenant_id: uuid.UUID) -> None:
        self._admitted[tenant_id] = monotonic() + REMEMBERED_SECONDS
        self._admitted.move_to_end(tenant_id)
        if len(self._admitted) > MOST_REMEMBERED:
            self._admitted.popitem(last=False)

    async def _find(self, tenant_id: uuid.UUID) -> Tenant | None:
        async with HOME.session_context() as session:
            return await session.get(Tenant, tenant_id)

    async def _create(self, tenant_id: uuid.UUID, name: str) -> Tenant | None:
        tenant = Tenant(id=tenant_id, slug=str(tenant_id), name=name[:200])
        try:
            async with HOME.session_context() as session:
                session.add(tenant)
        except IntegrityError:  # another process was faster
            return await self._find(tenant_id)
        return tenant


directory = Directory()


async def find_tenant(slug: str) -> Tenant | None:
    """Find a tenant by its slug, whoever asks."""
    with in_directory():
        async with HOME.read_session_context(fresh=True) as session:
            found: Tenant | None = await session.scalar(select(Tenant).where(Tenant.slug == slug))
    return found


async def is_open(tenant_id: uuid.UUID) -> bool:
    """Whether a tenant is there, and not suspended, as the database says at this moment."""
    with in_directory():
        async with HOME.read_session_context(fresh=True) as session:
            found = await session.get(Tenant, tenant_id)
    return found is not None and found.suspended_at is None


async def create_tenant(session: AsyncSession, slug: str, name: str) -> Tenant:
    """Store a new tenant, in a session of its own database.

    Raises:
        IntegrityError: the slug is taken.
    """
    tenant = Tenant(id=uuid.uuid4(), slug=slug, name=name)
    session.add(tenant)
    await session.flush()
    return tenant


@asynccontextmanager
async def as_demo_tenant() -> AsyncIterator[None]:
    """Work as the tenant `demo`, to which `make seed` gives its data."""
    with across_tenants("seed"):
        async with HOME.session_context() as session:
            demo = await session.scalar(select(Tenant).where(Tenant.slug == DEMO))
            demo = demo or await create_tenant(session, DEMO, "Demonstration")
    with as_tenant(demo.id):
        yield


async def suspend_tenant(session: AsyncSession, tenant: Tenant, *, suspended: bool) -> None:
    """Keep a tenant out, or let it in again; every process knows after `REMEMBERED_SECONDS`."""
    tenant.suspended_at = utc_now() if suspended else None
    await session.flush()
    directory.forget(tenant.id)


async def delete_tenant(tenant_id: uuid.UUID) -> None:
    """Remove a tenant and all that it owns, in every database; for ever.

    The tenant itself goes last, so that a failure on the way leaves something to try again with. In
    its place stays a row that keeps its id out: tokens that name it live on for a while.
    """
    with as_tenant(tenant_id):
        for database in reversed(DATABASES):
            async with database.session_context() as session:
                connection = await session.connection()
                for table in reversed(database.metadata.sorted_tables):
                    if table.info.get(OWNED) == COLUMN:
                        mine = table.c[COLUMN] == tenant_id
                        await connection.execute(delete(table).where(mine))
                    elif kept_for := table.info.get(KEPT_FOR):
                        await connection.execute(delete(table).where(kept_for(tenant_id)))
                if database is HOME:
                    await _bury(connection, tenant_id)
    directory.forget(tenant_id)


async def _bury(connection: AsyncConnection, tenant_id: uuid.UUID) -> None:
    # Deleted rather than changed, for the sake of whatever refers to it with ON DELETE CASCADE.
    tenants = Tenant.__table__
    await connection.execute(delete(tenants).where(tenants.c.id == tenant_id))
    await connection.execute(
        insert(tenants).values(
            id=tenant_id, slug=grave_of(tenant_id), name="", suspended_at=utc_now()
        )
    )
