"""The second net: below the repositories, in every session of the service.

It sees what no repository has built: a query written by hand, a bulk update, a relationship that is
loaded, an object with a foreign tenant. The third net is below it, see `third_net`.
"""

import uuid
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Insert,
    Select,
    Table,
    TextClause,
    TextualSelect,
    Update,
    event,
    inspect,
)
from sqlalchemy.orm import (
    LoaderCriteriaOption,
    ORMExecuteState,
    Session,
    UOWTransaction,
    with_loader_criteria,
)
from sqlalchemy.sql import visitors

from app.core.database.base import OWNED
from app.core.database.handle import ServiceSession
from app.core.tenancy.errors import CrossTenantError
from app.core.tenancy.owned import COLUMN, OWNED_CLASSES, TENANTS, TenantOwned
from app.core.tenancy.scope import ACROSS, DIRECTORY, Scope, current_scope, current_tenant
from app.core.tenancy.third_net import refuse_unconfined, tell_database

_SCOPE = "tenancy.scope"
_ONE_TENANT = "a session serves one tenant: use another one for the next"


def watch_sessions() -> None:
    """Spread the net under every session of the service."""
    event.listen(ServiceSession, "after_begin", _begin_in_scope)
    event.listen(ServiceSession, "do_orm_execute", _confine)
    event.listen(ServiceSession, "before_flush", _stamp)


def _begin_in_scope(session: Session, _transaction: object, connection: Connection) -> None:
    """Say whose rows are meant: a connection from the pool remembers nothing."""
    scope, before = current_scope(), session.info.get(_SCOPE)
    if before is not None and scope != before:
        raise CrossTenantError(_ONE_TENANT)
    session.info[_SCOPE] = scope
    tell_database(connection, scope)


def _keep_scope(session: Session) -> Scope:
    """Hold a session to the tenant that it began with: it knows that one's objects."""
    scope = current_scope()
    before = session.info.setdefault(_SCOPE, scope)
    if scope != before:
        if before is not None:
            raise CrossTenantError(_ONE_TENANT)
        session.info[_SCOPE] = scope
        tell_database(session.connection(), scope)
    return scope


def _confine(state: ORMExecuteState) -> None:
    statement: Any = state.statement
    concerns = _concerns_tenants(statement)
    if concerns or _is_written(statement):
        scope = _keep_scope(state.session)
        if scope == DIRECTORY and not _only_reads_directory(statement):
            raise CrossTenantError("the list of tenants is read by a SELECT of it alone")
        if scope in {ACROSS, DIRECTORY}:
            return
    refuse_unconfined(state)
    if not concerns:
        return
    tenant = current_tenant()
    if isinstance(statement, Insert | Update):
        _refuse_foreign_values(statement, state.parameters, tenant)
    if not isinstance(statement, Insert):
        state.statement = statement.options(*_only_of(tenant, len(OWNED_CLASSES)))


@lru_cache(maxsize=1024)
def _only_of(tenant: uuid.UUID, _classes: int) -> tuple[LoaderCriteriaOption, ...]:
    """Confine every model of tenants that a statement, or what it loads, is made of."""
    return tuple(
        with_loader_criteria(model, model.tenant_id == tenant, include_aliases=True)
        for model in OWNED_CLASSES
    )


def _is_written(statement: Any) -> bool:
    """Whether any of it is text, which may be about whatever."""
    return any(
        isinstance(element, TextClause | TextualSelect) or getattr(element, "is_literal", False)
        for element in (statement, *visitors.iterate(statement))
    )


def _only_reads_directory(statement: Any) -> bool:
    """Whether a statement is a SELECT, made of models, of nothing but tenants."""
    if not isinstance(statement, Select) or _is_written(statement):
        return False
    return all(table.name == TENANTS for table in _tables(statement))


def _concerns_tenants(statement: Any) -> bool:
    return any(OWNED in table.info for table in _tables(statement))


def _tables(statement: Any) -> Iterator[Table]:
    for element in visitors.iterate(statement):
        table = element.table if isinstance(element, Column) else element
        if isinstance(table, Table):
            yield table


def _refuse_foreign_values(statement: Any, parameters: Any, tenant: uuid.UUID) -> None:
    """Let a bulk statement name the tenant only if it is the right one."""
    rows: list[Any] = [statement._values or {}]
    rows += parameters if isinstance(parameters, list) else [parameters or {}]
    if isinstance(statement, Insert):
        rows += [row for several in statement._multi_values for row in several]
    for row in rows:
        for key, value in row.items():
            named = getattr(value, "value", value)
            if getattr(key, "key", key) == COLUMN and named != tenant:
                raise CrossTenantError("a statement names another tenant")


def _stamp(session: Session, _context: UOWTransaction, _instances: object) -> None:
    """Give new rows their tenant, and refuse to write rows of another one."""
    changed = [each for each in _objects(session) if isinstance(each, TenantOwned)]
    if not changed:
        return
    scope = _keep_scope(session)
    for entity in changed:
        if entity.tenant_id is None:
            entity.tenant_id = current_tenant()
        elif scope != ACROSS and entity.tenant_id != current_tenant():
            raise CrossTenantError(f"this {type(entity).__name__} belongs to another tenant")
        if inspect(entity).persistent and inspect(entity).attrs[COLUMN].history.deleted:
            raise CrossTenantError("what is stored cannot be given to another tenant")


def _objects(session: Session) -> Iterable[object]:
    yield from session.new
    yield from session.dirty
    yield from session.deleted
