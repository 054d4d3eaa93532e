"""The public keys of an issuer elsewhere: fetched once, kept, and never lost to its outages.

PyJWT's own client parses the sets, but does not fetch them: it waits for the network in a thread
per request, asks again for every unknown key while the issuer is down, and forgets its keys when
they expire.
"""

import asyncio
import json
from functools import cache
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import structlog
from httpx2 import AsyncClient
from jwt import PyJWK, PyJWTError

from app.core.auth.tokens import algorithms_of
from app.core.errors import ServiceUnavailableError

log = structlog.get_logger(logger_name="app.auth")

LIFESPAN_SECONDS = 300.0
"""Age at which keys are fetched again, so that one taken back by the issuer is not accepted."""
COOLDOWN_SECONDS = 30.0
"""Time between two fetches for unknown keys, which anybody can make up."""
RETRY_SECONDS = 2.0
"""Time between two fetches while there is no key at all."""
FETCH_TIMEOUT_SECONDS = 5.0
LARGEST_DOCUMENT = 262_144


class RemoteKeys:
    """The keys that are published at an address.

    Args:
        address: of the key set (RFC 7517), or of the issuer's discovery document.
        issuer: given when the address is of a discovery document, which must name this issuer.
    """

    def __init__(self, address: str, issuer: str | None = None) -> None:
        self.address = address
        self.issuer = issuer
        self._keys: dict[str | None, PyJWK] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    @property
    def fresh(self) -> bool:
        """Whether the keys are as young as they should be."""
        return monotonic() - self._fetched_at < LIFESPAN_SECONDS

    def __len__(self) -> int:
        """Count the keys."""
        return len(self._keys)

    async def find(self, key_id: str | None) -> PyJWK | None:
        """Give the key of this id, or the only one there is when no id is given.

        Raises:
            ServiceUnavailableError: no key was ever fetched.
        """
        key = self._known(key_id)
        if key is not None and not self.fresh:
            self._refetch_after(COOLDOWN_SECONDS)  # and do not wait for it
        elif key is None:
            wait = COOLDOWN_SECONDS if self._keys else RETRY_SECONDS
            if fetching := self._refetch_after(wait):
                await asyncio.shield(fetching)  # others wait for the same one
            key = self._known(key_id)
        if not self._keys:
            raise ServiceUnavailableError("The keys of the sign-in provider cannot be had now")
        return key

    async def refresh(self) -> None:
        """Fetch the keys unless they are fresh: at the start, and for health."""
        if not self.fresh and (fetching := self._refetch_after(RETRY_SECONDS)):
            await asyncio.shield(fetching)

    def _known(self, key_id: str | None) -> PyJWK | None:
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    def _refetch_after(self, seconds: float) -> "asyncio.Task[None] | None":
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        if monotonic() - self._tried_at < seconds:
            return None
        self._tried_at = monotonic()
        self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        try:
            # In a thread, because reading the trusted certificates takes some 50 ms.
            made = await asyncio.to_thread(AsyncClient, timeout=FETCH_TIMEOUT_SECONDS)
            async with made as client, asyncio.timeout(FETCH_TIMEOUT_SECONDS):
                keys = await self._download(client)
        except Exception as error:  # noqa: BLE001 - whatever an issuer sends, its keys are kept
            reason = f"{type(error).__name__}: {error}"
            log.warning("keys not fetched", address=self.address, known=len(self), reason=reason)
            return
        if keys.keys() != self._keys.keys():
            log.info("keys fetched", address=self.address, key_ids=sorted(map(str, keys)))
        self._keys, self._fetched_at = keys, monotonic()

    async def _download(self, client: AsyncClient) -> dict[str | None, PyJWK]:
        address = self.address
        if self.issuer is not None:
            document = await read_json(client, address)
            if document["issuer"] != self.issuer:  # to the letter: so do tokens spell it
                raise ValueError(f"the issuer calls itself {document['issuer']!r:.200}")
            address = document["jwks_uri"]
            if urlsplit(address).scheme != urlsplit(self.issuer).scheme:
                raise ValueError("the keys are not where the issuer is safe")
        found = map(_parsed, (await read_json(client, address))["keys"])
        keys = {key.key_id: key for key in found if key and _signs(key)}
        if not keys:
            raise ValueError("there is no key that signs")
        return keys


def _parsed(described: Any) -> PyJWK | None:
    """Read a key; one that is nonsense, or of a kind that nobody knows, takes no other with it."""
    try:
        return PyJWK.from_dict(described)
    except (AttributeError, KeyError, PyJWTError, TypeError, ValueError):
        return None


def _signs(key: PyJWK) -> bool:
    published_in_full = "d" in key._jwk_data  # then everybody can sign with it
    return (
        bool(algorithms_of(key)) and key.public_key_use in (None, "sig") and not published_in_full
    )


async def read_json(client: AsyncClient, address: str) -> Any:
    """Read a document of an issuer; how long all of it may take says whoever calls.

    Raises:
        HTTPError: the issuer does not answer, or by an error.
        ValueError: it is no JSON, too large, or elsewhere.
    """
    # Redirects are not followed: whoever can redirect the address could serve keys of their own.
    async with client.stream("GET", address) as response:
        response.raise_for_status()  # a redirect is an error too
        body = b""
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > LARGEST_DOCUMENT:
                raise ValueError("the document is too large")
    return json.loads(body)


@cache
def remote_keys(address: str, issuer: str | None = None) -> RemoteKeys:
    """The keys at an address; the same object for all of the process."""
    return RemoteKeys(address, issuer)
