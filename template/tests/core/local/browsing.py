"""Browsers that sign in through others."""

import asyncio
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
from httpx2 import AsyncClient, Response

from tests.core.issuing.base import bearer
from tests.core.local.people import AUTH
from tests.core.local.realms.realm import naming
from tests.core.serving import NO_CERTIFICATES

PROVIDERS = ("google", "github")


ADA = "ada@example.com"


@dataclass
class Browser:
    """Somebody's browser: it keeps the cookies of the service."""

    client: AsyncClient
    email: str = ADA

    async def begin(self, provider: str) -> str:
        """Start a sign-in and give where the service sends the browser."""
        query = naming(self.email)
        answer = await self.client.get(f"{AUTH}/oauth/{provider}", params=query)
        assert answer.status_code == 303, answer.text
        return answer.headers["Location"]

    async def visit(self, address: str) -> dict[str, str]:
        """Sign in at the provider and give what it sends back."""
        answer = await asyncio.to_thread(httpx2.get, address, verify=NO_CERTIFICATES)
        query = urlsplit(answer.headers["Location"]).query
        return {name: values[0] for name, values in parse_qs(query).items()}

    async def come_back(self, provider: str, brought: dict[str, str]) -> Response:
        """Return to the service."""
        return await self.client.get(f"{AUTH}/oauth/{provider}/callback?{urlencode(brought)}")

    async def sign_in(self, provider: str) -> Response:
        """Go all the way."""
        return await self.come_back(provider, await self.visit(await self.begin(provider)))

    async def subject(self, answer: Response) -> str:
        """Who is signed in."""
        assert answer.status_code == 200, answer.text
        headers = bearer(answer.json()["access_token"])
        return str((await self.client.get(f"{AUTH}/me", headers=headers)).json()["subject"])
