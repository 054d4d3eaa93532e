"""People who use the sign-in of the service."""

import re
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from httpx2 import AsyncClient, Response

from tests.core.issuing.base import bearer
from tests.core.mailbox import Mailbox

PASSWORD = "a passphrase nobody knows"  # noqa: S105
OTHER = "another passphrase of theirs"
AUTH = "/api/v1/auth"

Tokens = dict[str, Any]


def new_address() -> str:
    """An address that nobody has used yet."""
    return f"user-{uuid4().hex[:12]}@example.com"


@dataclass
class People:
    """Calls the endpoints as a browser would, and reads the mails."""

    caller: AsyncClient
    mailbox: Mailbox

    async def post(self, path: str, headers: Any = None, **body: str) -> Response:
        """Call an endpoint of the sign-in."""
        return await self.caller.post(f"{AUTH}/{path}", json=body, headers=headers)

    async def mailed_token(self, email: str) -> str:
        """Take the token out of the next mail to somebody."""
        text = (await self.mailbox.next(email)).get_content()
        found = re.search(r"https?://\S+#(\S+)", text)
        assert found, text
        return found[1]

    async def join(self, email: str | None = None, password: str = PASSWORD) -> str:
        """Register, verify the address, and give it."""
        email = email or new_address()
        assert (await self.post("register", email=email, password=password)).status_code == 202
        token = await self.mailed_token(email)
        assert (await self.post("verify-email", token=token)).status_code == 204
        return email

    async def login(self, email: str, password: str = PASSWORD) -> Tokens:
        """Sign in."""
        answer = await self.post("login", email=email, password=password)
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
