"""For models that are SQLAlchemy's declarative classes."""

import uuid

from sqlalchemy.orm import Mapped, mapped_column

from app.core.tenancy.owned import TenantOwned
from app.core.tenancy.scope import current_tenant


class TenantMixin(TenantOwned):
    """Rows that belong to a tenant; nobody else sees or changes them."""

    tenant_id: Mapped[uuid.UUID] = mapped_column(default=current_tenant, sort_order=-1)
