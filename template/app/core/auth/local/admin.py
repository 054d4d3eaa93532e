"""Administration of users: `python -m app.core.auth.local.admin --help`.

The first administrator is made here, and never by being the first to register.
"""

import argparse
import asyncio
import getpass
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.audit import audit
from app.core.auth.local import sessions
from app.core.auth.local.directory import (
    add_role,
    add_user,
    find_user,
    providers_of,
    remove_identities,
    remove_role,
)
from app.core.auth.local.models import HOME, User
from app.core.auth.local.passwords import check_password, passwords
from app.core.auth.local.realms.realm import add_argument, entered, find_given
from app.core.auth.local.schemas import normalise_email
from app.core.auth.local.settings import LocalSettings
from app.core.database.layout import DATABASES
from app.core.database.types import utc_now
from app.core.errors import AppException
from app.core.logging import configure_logging
from app.core.registry import CoreSettings
from app.core.settings import load_settings

ROLE_LENGTH = 64


async def create(settings: LocalSettings, email: str, password: str, roles: Sequence[str]) -> str:
    """Make a user with a password and roles."""
    check_password(password, email, settings.password_min_length)
    password_hash = await passwords(settings).hash(password)
    async with HOME.session_context() as session:
        if await find_user(session, email) is not None:
            raise SystemExit(f"There is a user {email} already")
        user = await add_user(session, email, password_hash)
        for role in roles:
            await add_role(session, user.id, role)
    audit("user.created", user=str(user.id), roles=list(roles))
    return f"{email} may sign in{_as_words(roles)}"


async def grant(email: str, role: str) -> str:
    """Give a user a role; it is in the tokens from the next refresh on."""
    async with HOME.session_context() as session:
        user = await _user(session, email)
        if not await add_role(session, user.id, role):
            return f"{email} has the role {role} already"
    audit("role.granted", user=str(user.id), role=role)
    return f"{email} has the role {role}"


async def revoke(email: str, role: str) -> str:
    """Take a role from a user; tokens that are out keep it until they expire."""
    async with HOME.session_context() as session:
        user = await _user(session, email)
        if not await remove_role(session, user.id, role):
            return f"{email} has no role {role}"
    audit("role.revoked", user=str(user.id), role=role)
    return f"{email} has no role {role} any more"


async def disable(email: str) -> str:
    """Let a user in no more, and end all sessions."""
    async with HOME.session_context() as session:
        user = await _user(session, email)
        user.disabled_at = utc_now()
        await sessions.end_all(session, user.id)
    audit("user.disabled", user=str(user.id))
    return f"{email} may not sign in"


async def enable(email: str) -> str:
    """Let a user in again."""
    async with HOME.session_context() as session:
        user = await _user(session, email)
        user.disabled_at = None
    audit("user.enabled", user=str(user.id))
    return f"{email} may sign in"


async def unlink(email: str, provider: str) -> str:
    """Take the sign-in through a provider from a user, and end all sessions."""
    async with HOME.session_context() as session:
        user = await _user(session, email)
        if not await remove_identities(session, user.id, provider):
            return f"{email} is not linked with {provider}"
        await sessions.end_all(session, user.id)
    audit("identity.unlinked", user=str(user.id), provider=provider)
    return f"{email} is not linked with {provider} any more"


async def show(email: str) -> str:
    """Tell of a user."""
    async with HOME.read_session_context(fresh=True) as session:
        user = await _user(session, email)
        roles = await sessions.roles_of(session, user.id)
        known = len(await sessions.list_of(session, user.id))
        linked = await providers_of(session, user.id)
    state = "disabled" if user.disabled_at else "enabled"
    links = f", linked with {', '.join(linked)}" if linked else ""
    return f"{email} {user.id} {state}{_as_words(roles)}, {known} sessions{links}"


async def _user(session: AsyncSession, email: str) -> User:
    user = await find_user(session, email)
    if user is None:
        raise SystemExit(f"There is no user {email}")
    return user


def _as_words(roles: Sequence[str]) -> str:
    return f" as {', '.join(roles)}" if roles else ""


def _email(text: str) -> str:
    try:
        return normalise_email(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _role(text: str) -> str:
    if not text.strip() or len(text) > ROLE_LENGTH or any(map(str.isspace, text)):
        raise argparse.ArgumentTypeError(f"a role is one word of up to {ROLE_LENGTH} characters")
    return text


def _read_password() -> str:
    """Ask for it, or read one line when nobody is there to be asked."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != first:
        raise SystemExit("These are two different passwords")
    return first


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="admin", description="Administration of users")
    commands = parser.add_subparsers(dest="command", required=True)
    helps = {
        "create": "make a user; the password is asked for, or read from standard input",
        "grant": "give a user a role",
        "revoke": "take a role from a user",
        "disable": "end all sessions of a user and let them in no more",
        "enable": "let a user in again",
        "unlink": "end all sessions of a user and the sign-in through a provider",
        "show": "tell of a user",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("email", type=_email)
        add_argument(command)
        if name == "create":
            command.add_argument("--role", dest="roles", type=_role, action="append", default=[])
        if name in ("grant", "revoke"):
            command.add_argument("role", type=_role)
        if name == "unlink":
            command.add_argument("provider", help="such as google")
    return parser


async def run(settings: CoreSettings, arguments: argparse.Namespace) -> str:
    """Do what the command line says, with the databases at hand."""
    async with AsyncExitStack() as stack:
        for database in DATABASES:
            await stack.enter_async_context(database.connected(settings))
        stack.enter_context(entered(await find_given(arguments)))
        if arguments.command == "create":
            password = _read_password()
            return await create(settings, arguments.email, password, arguments.roles)
        if arguments.command in ("grant", "revoke"):
            action = grant if arguments.command == "grant" else revoke
            return await action(arguments.email, arguments.role)
        if arguments.command == "unlink":
            return await unlink(arguments.email, arguments.provider)
        lone = {"disable": disable, "enable": enable, "show": show}
        return await lone[arguments.command](arguments.email)


def main(given: Sequence[str] | None = None) -> None:
    """Do what the command line says.

    Raises:
        SystemExit: it cannot be done; one line says why.
    """
    arguments = _parser().parse_args(given)
    settings = load_settings(CoreSettings)
    configure_logging(settings, sys.stderr)
    try:
        said = asyncio.run(run(settings, arguments))
    except AppException as error:
        raise SystemExit(str(error)) from None
    sys.stdout.write(f"{said}\n")


if __name__ == "__main__":
    main()
