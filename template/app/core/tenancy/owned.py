"""What all models of tenants have in common, however they are written."""

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, ForeignKeyConstraint, Table, UniqueConstraint, event
from sqlalchemy.orm import Mapped, Mapper

from app.core.database.base import OWNED, Entity
from app.core.database.layout import DATABASES
from app.core.tenancy.scope import ACROSS, current_scope, current_tenant

HOME = DATABASES[0]
"""The database in which tenants and users are."""
COLUMN = "tenant_id"
TENANTS = "tenants"
OWNED_CLASSES: "list[type[TenantOwned]]" = []
"""The models that this holds for."""


class TenantOwned(Entity):
    """Any model whose rows belong to a tenant."""

    if TYPE_CHECKING:
        tenant_id: Mapped[uuid.UUID]

    @classmethod
    def __visible_rows__(cls) -> Iterator[ColumnElement[bool]]:
        """The first net: what every query of a repository starts from."""
        yield from super().__visible_rows__()
        if current_scope() != ACROSS:
            yield cls.tenant_id == current_tenant()


@event.listens_for(TenantOwned, "instrument_class", propagate=True)
def _complete_table(mapper: "Mapper[Any]", model: type[TenantOwned]) -> None:
    """Give a tenant's table what each of them needs, so that no model can forget it."""
    OWNED_CLASSES.append(model)
    table = mapper.local_table
    if not isinstance(table, Table) or OWNED in table.info:
        return
    if table.name == TENANTS:
        table.info[OWNED] = "id"
        return
    table.info[OWNED] = COLUMN
    if table.metadata is HOME.metadata:  # no foreign key leads there from the other database
        table.append_constraint(
            ForeignKeyConstraint([COLUMN], [f"{TENANTS}.id"], ondelete="CASCADE")
        )
    # For foreign keys that lead to rows of the same tenant, and for pages of a tenant's rows.
    table.append_constraint(UniqueConstraint(table.c[COLUMN], table.c.id))
