"""The shape of a flavour."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Executable, Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

if TYPE_CHECKING:
    from app.core.database.settings import ConnectionSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """One kind of database server.

    Attributes:
        name: SQLAlchemy's name of the dialect.
        driver: the dialect with its asynchronous driver.
        schemes: what an address may start with; the first one is used in messages.
        example: an address for messages.
        adapt: translates parts of an address that the driver spells otherwise.
        engine_options: arguments of `create_async_engine`, pool aside.
        cursor_options: of a connection that reads by a cursor of the server and has no transaction
            yet, where that needs one.
        prepare: attaches listeners to a new engine.
        lost_conflict: whether an error says that a transaction lost against another one, and may
            win when it is tried again.
        passing: whether an error will be over soon: a statement that took too long, a server that
            only reads after a fail-over, a plan from before a migration.
        refused_login: whether an error of the driver says that account or password are wrong.
        broken_rule: whether an error that is no IntegrityError says that a row breaks a rule of its
            table.
        refused_value: whether an error says that a value cannot be stored.
        upsert: inserts a row, or changes the one that has its primary key; the changes may look at
            the columns of that row. They are made in the order of the table's columns.
        migration_limits: statements that set the limits of a migration, given the seconds that one
            of its statements may take.
        migration_lock: holds off other migrators, given the seconds to wait for them and those that
            one statement may take; raises TimeoutError when they do not finish.
    """

    name: str
    driver: str
    schemes: tuple[str, ...]
    example: str
    adapt: Callable[[URL], URL]
    engine_options: "Callable[[ConnectionSettings], dict[str, Any]]"
    cursor_options: Mapping[str, Any]
    prepare: Callable[[AsyncEngine], None]
    lost_conflict: Callable[[DBAPIError], bool]
    passing: Callable[[DBAPIError], bool]
    refused_login: Callable[[Exception], bool]
    broken_rule: Callable[[DBAPIError], bool]
    refused_value: Callable[[DBAPIError], bool]
    upsert: Callable[[Table, Mapping[str, Any], Mapping[str, Any]], Executable]
    migration_limits: Callable[[int], list[str]]
    migration_lock: Callable[[Connection, int, int], AbstractContextManager[None]]
