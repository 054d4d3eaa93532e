"""Administration of tenants: `python -m app.core.tenancy --help`."""

import argparse
import asyncio
import re
import sys
from contextlib import AsyncExitStack
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.layout import DATABASES
from app.core.jobs.finding import find_tasks
from app.core.jobs.task import longest_limit
from app.core.logging import configure_logging
from app.core.registry import CoreSettings
from app.core.settings import load_settings
from app.core.tenancy.directory import (
    REMEMBERED_SECONDS,
    create_tenant,
    delete_tenant,
    suspend_tenant,
)
from app.core.tenancy.models import SLUG, Tenant, grave_of
from app.core.tenancy.owned import HOME
from app.core.tenancy.scope import across_tenants


def main() -> None:
    """Do what the command line asks for.

    Raises:
        SystemExit: it cannot be done; one line says why.
    """
    options = parse(sys.argv[1:])
    settings = load_settings(CoreSettings)
    configure_logging(settings, sys.stderr)
    asyncio.run(_connected(settings, options))


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read a command line."""
    parser = argparse.ArgumentParser(prog="python -m app.core.tenancy")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list all tenants")
    create = commands.add_parser("create", help="make a tenant")
    create.add_argument("slug")
    create.add_argument("name")
    for name, help_text in (
        ("suspend", "keep a tenant out"),
        ("resume", "let a suspended tenant in again"),
        ("delete", "keep a tenant out, then remove it and all that it owns, for ever"),
    ):
        commands.add_parser(name, help=help_text).add_argument("slug")
    return parser.parse_args(arguments)


async def _connected(settings: CoreSettings, options: argparse.Namespace) -> None:
    # To delete all rows of a tenant takes as long as it takes.
    settings = settings.model_copy(update={"db_statement_timeout": 0})
    async with AsyncExitStack() as stack:
        for database in DATABASES:
            await stack.enter_async_context(database.connected(settings))
        find_tasks()
        await run(options, longest_limit(settings.jobs_time_limit_seconds))


async def run(options: argparse.Namespace, longest_job: float) -> None:
    """Do what a command line says, on databases that are connected.

    Args:
        options: the command line, see `parse`.
        longest_job: how many seconds a job may take.

    Raises:
        SystemExit: it cannot be done; one line says why.
    """
    with across_tenants(f"command {options.command} {getattr(options, 'slug', '')}".strip()):
        async with HOME.session_context() as session:
            tenant = await _do(session, options)
    if options.command == "delete" and tenant is not None:
        await _delete(tenant.id, longest_job)


async def _delete(tenant_id: UUID, longest_job: float) -> None:
    """Delete a tenant, and what requests and jobs that were let in before have stored since.

    Nobody else could remove that any more.
    """
    _say(f"Deleting it in {REMEMBERED_SECONDS:.0f} s, when all know it is out")
    await asyncio.sleep(REMEMBERED_SECONDS)
    await delete_tenant(tenant_id)
    _say(f"Deleted; in {longest_job:.0f} s what its last jobs may have stored goes, too")
    _say(f"To have that done later, stop here, and delete {grave_of(tenant_id)}")
    await asyncio.sleep(longest_job)
    await delete_tenant(tenant_id)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _do(session: AsyncSession, options: argparse.Namespace) -> Tenant | None:
    if options.command == "list":
        for tenant in await session.scalars(select(Tenant).order_by(Tenant.slug)):
            _print(tenant)
        return None
    if options.command == "create":
        return await _create(session, options.slug, options.name)
    found: Tenant | None = await session.scalar(select(Tenant).where(Tenant.slug == options.slug))
    if found is None or (found.is_deleted and options.command != "delete"):
        raise SystemExit(f"There is no tenant {options.slug}")
    await suspend_tenant(session, found, suspended=options.command != "resume")
    _print(found)
    return found


async def _create(session: AsyncSession, slug: str, name: str) -> Tenant:
    if not re.fullmatch(SLUG, slug) or len(slug) > 63:
        raise SystemExit(f"'{slug}' is no slug: use lower-case letters, digits and single hyphens")
    try:
        tenant = await create_tenant(session, slug, name)
    except IntegrityError:
        raise SystemExit(f"There is a tenant {slug} already") from None
    _print(tenant)
    return tenant


def _print(tenant: Tenant) -> None:
    state = "suspended" if tenant.suspended_at else "active"
    state = "deleted" if tenant.is_deleted else state
    sys.stdout.write(f"{tenant.id}  {tenant.slug}  {state}  {tenant.name}\n")


if __name__ == "__main__":
    main()
