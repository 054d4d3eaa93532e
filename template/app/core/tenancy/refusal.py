"""The third net where the database has none: what the session net cannot confine is refused.

The session net adds the tenant to statements made of models. Raw SQL, statements on bare tables and
bulk changes by primary key get past it, so here they are errors: use the models, or say
`across_tenants`.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypeGuard

from sqlalchemy import (
    Column,
    ColumnClause,
    Connection,
    Delete,
    Insert,
    Select,
    Table,
    TableClause,
    TextClause,
    TextualSelect,
    Update,
    inspect,
)
from sqlalchemy.orm import ORMExecuteState
from sqlalchemy.sql import visitors

from app.core.database.base import OWNED
from app.core.piece import Details
from app.core.tenancy.errors import CrossTenantError
from app.core.tenancy.owned import OWNED_CLASSES
from app.core.tenancy.scope import Scope


def tell_database(_connection: Connection, _scope: Scope) -> None:
    """Nothing: this kind of database does not know of tenants."""


def refuse_unconfined(state: ORMExecuteState) -> None:
    """Refuse a statement that the session net does not confine.

    Raises:
        CrossTenantError: it may touch rows of other tenants.
    """
    statement = state.statement
    if any(_names().search(text) for text in _texts(statement)):
        raise CrossTenantError("raw SQL on tenants' tables is not confined: use the models")
    if isinstance(statement, TextClause | TextualSelect):
        return
    if _mixes_text_with_owned(statement):
        raise CrossTenantError("text within a statement on tenants' tables may undo its conditions")
    if _is_upsert(statement) and _owned_table(statement.table) is not None:
        raise CrossTenantError("an upsert may change another tenant's row: read, then store")
    bare = [str(each) for each in _bare_elements(statement, loads=state.is_relationship_load)]
    if bare:
        raise CrossTenantError(f"{bare[0]} is used without its model, so it is not confined")
    if isinstance(statement, Insert) and statement.select is not None:
        raise CrossTenantError("INSERT … SELECT is not confined: read and store by the models")
    if isinstance(statement, Update) and isinstance(state.parameters, list):
        raise CrossTenantError("a bulk UPDATE by primary key is not confined: use WHERE")


def _is_upsert(statement: Any) -> TypeGuard[Insert]:
    return isinstance(statement, Insert) and statement._post_values_clause is not None


def _texts(statement: Any) -> Iterator[str]:
    """Every piece of SQL that somebody has written as text."""
    for element in (statement, *visitors.iterate(statement)):
        if isinstance(element, TextClause):
            yield element.text
        elif isinstance(element, TableClause) and not isinstance(element, Table):
            yield element.name
        elif isinstance(element, ColumnClause) and element.is_literal:
            yield str(element.name)


def _mixes_text_with_owned(statement: Any) -> bool:
    """Whether there is text beside a tenant's table: `… OR 1` takes all conditions away."""
    elements = list(visitors.iterate(statement))
    has_text = any(isinstance(element, TextClause) for element in elements)
    return has_text and any(_owned_table(element) is not None for element in elements)


def _names() -> re.Pattern[str]:
    # Not once for ever: a model may be defined after the first statement.
    return _pattern(len(OWNED_CLASSES))


@lru_cache(maxsize=1)
def _pattern(_classes: int) -> re.Pattern[str]:
    tables = (inspect(model).local_table for model in OWNED_CLASSES)
    names = {re.escape(table.name) for table in tables if isinstance(table, Table)}
    return re.compile(rf"\b({'|'.join(sorted(names))})\b", re.IGNORECASE)


def _bare_elements(statement: Any, *, loads: bool) -> Iterator[Any]:
    """Each use of a tenant's table, or of its columns, that does not come from a model.

    Args:
        statement: what is looked at.
        loads: whether SQLAlchemy itself has made it, to load a relationship; it then selects keys
            beside the model to which they belong.
    """
    modelled: set[Table] = set()
    columns: list[Column[Any]] = []
    for element in (statement, *visitors.iterate(statement)):
        if type(element) is Column:
            columns.append(element)
        for source in _sources(element):
            if (table := _owned_table(source)) is not None:
                if "parententity" in source._annotations:
                    modelled.add(table)
                elif loads and element is statement and type(source) is Column:
                    columns.append(source)
                else:
                    yield source
    # A model's own columns may appear without it, as in `session.get`.
    for column in columns:
        if (table := _owned_table(column)) is not None and table not in modelled:
            yield column


def _sources(element: Any) -> Iterator[Any]:
    """What a SELECT, an UPDATE and so on takes its rows from."""
    if isinstance(element, Select):
        yield from element._raw_columns
        yield from element._from_obj
        yield from (target for target, *_ in element._setup_joins)
    elif isinstance(element, Insert | Update | Delete):
        yield element.table


def _owned_table(source: Any) -> Table | None:
    inner = getattr(source, "table", source)
    while not isinstance(inner, Table) and hasattr(inner, "element"):
        inner = inner.element  # an alias
    base = getattr(inner, "_Annotated__element", inner)
    return base if isinstance(base, Table) and OWNED in base.info else None


async def check_database(*, at_start: bool) -> Details:
    """Nothing can be wrong with a role here."""
    del at_start
    return {"confined_by": "session"}
