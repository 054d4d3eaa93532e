"""People who use the sign-in of the service."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from httpx2 import AsyncClient, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.auth.local.models import HOME, User
from app.core.auth.local.realms.realm import entered
from app.core.mail import outbox
from tests.core.issuing.base import bearer
from tests.core.local.realms.realm import founding, naming, realm_of
from tests.core.mailbox import Mailbox

PASSWORD = "a passphrase nobody knows"  # noqa: S105
OTHER = "another passphrase of theirs"
AUTH = "/api/v1/auth"

Tokens = dict[str, Any]


def new_address() -> str:
    """An address that nobody has used yet."""
    return f"user-{uuid4().hex[:12]}@example.com"


def body_of(path: str, body: dict[str, str]) -> dict[str, str]:
    """Add to a body what names the realm of the e-mail address."""
    if path == "register":
        return founding(body["email"]) | body
    return naming(body["email"]) | body if path in ("login", "password/forgot") else body


async def find(session: AsyncSession, email: str) -> User:
    """Find a user whose realm is entered."""
    return (await session.scalars(select(User).where(User.email == email))).one()


@asynccontextmanager
async def account(email: str) -> AsyncIterator[User]:
    """Look at a user in the database, or change it."""
    with entered(await realm_of(email)):
        async with HOME.session_context() as session:
            yield await find(session, email)
            await session.flush()


@dataclass
class People:
    """Calls the endpoints as a browser would, and reads the mails."""

    caller: AsyncClient
    mailbox: Mailbox

    async def post(self, path: str, headers: Any = None, **body: str) -> Response:
        """Call an endpoint of the sign-in."""
        if path == "verify-email":
            body.setdefault("password", PASSWORD)
        complete = body_of(path, body)
        return await self.caller.post(f"{AUTH}/{path}", json=complete, headers=headers)

    async def mailed_token(self, email: str) -> str:
        """Take the token out of the next mail to somebody."""
        text = (await self.mailbox.next(email)).get_content()
        found = re.search(r"https?://\S+#(\S+)", text)
        assert found, text
        return found[1]

    async def mails_left(self, email: str) -> int:
        """Count the mails to somebody that nobody has taken, once all are delivered."""
        assert outbox._outbox is not None
        await outbox._outbox.finish()
        return self.mailbox.count(email)

    async def forget_mails(self, email: str) -> None:
        """Leave no mail to somebody to the next test."""
        for _ in range(await self.mails_left(email)):
            await self.mailbox.next(email)

    async def join(self, email: str | None = None, password: str = PASSWORD) -> str:
        """Register, verify the address, and give it."""
        email = email or new_address()
        assert (await self.post("register", email=email, password=password)).status_code == 202
        token = await self.mailed_token(email)
        answer = await self.post("verify-email", token=token, password=password)
        assert answer.status_code == 204, answer.text
        return email

    async def login(self, email: str, password: str = PASSWORD, **more: str) -> Tokens:
        """Sign in."""
        answer = await self.post("login", email=email, password=password, **more)
        assert answer.status_code == 200, answer.text
        tokens: Tokens = answer.json()
        return tokens

    async def signed_in(self) -> Tokens:
        """Sign a new user in."""
        return await self.login(await self.join())

    async def me(self, tokens: Tokens) -> Response:
        """Ask who one is."""
        return await self.caller.get(f"{AUTH}/me", headers=bearer(tokens["access_token"]))

    async def refresh(self, tokens: Tokens) -> Response:
        """Swap a refresh token."""
        return await self.post("refresh", refresh_token=tokens["refresh_token"])
