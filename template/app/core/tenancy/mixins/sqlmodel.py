"""For models that are SQLModel classes."""

import uuid

from sqlmodel import Field

from app.core.database.styles.sqlmodel import placed
from app.core.tenancy.owned import TenantOwned
from app.core.tenancy.scope import current_tenant


class TenantMixin(TenantOwned):
    """Rows that belong to a tenant; nobody else sees or changes them."""

    # Empty until the row is stored: whose it is, is nothing that a caller may say.
    tenant_id: uuid.UUID = Field(
        default=None, nullable=False, sa_column_kwargs=placed(-1, default=current_tenant)
    )
