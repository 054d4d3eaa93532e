"""Google and GitHub: where they are asked, and whom their answers name."""

import asyncio
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import structlog
from httpx2 import AsyncClient, HTTPError

from app.core.auth.local.oauth.handshake import Handshake
from app.core.auth.local.schemas import normalise_email
from app.core.auth.local.settings import LocalSettings
from app.core.auth.remote_keys import read_json, remote_keys
from app.core.auth.tokens import TokenRefusedError, TokenRules, Verifier
from app.core.errors import (
    BadRequestError,
    ExternalServiceError,
    ServiceUnavailableError,
    UnauthenticatedError,
)
from app.core.http.guard import tls
from app.core.secrets.oauth import OAuthClient, oauth_client

log = structlog.get_logger(logger_name="app.auth")

TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a provider knows somebody as.

    Attributes:
        provider: its name.
        subject: its name for them, which never changes.
        email: their address, only if the provider has verified it.
    """

    provider: str
    subject: str
    email: str | None


class Provider(Protocol):
    """Somebody else who can say who is there.

    Attributes:
        name: what it is called here.
        redirect_uri: where it sends browsers back to.
    """

    name: str
    redirect_uri: str

    async def address(self, handshake: Handshake) -> str:
        """Where to send the browser.

        Raises:
            ExternalServiceError: the provider does not answer.
            ServiceUnavailableError: it is not configured any more.
        """

    async def identify(self, code: str, handshake: Handshake, issuer: str | None) -> Identity:
        """Ask who has brought a code.

        Raises:
            BadRequestError: the answer comes from another issuer.
            UnauthenticatedError: the provider does not accept the code.
            ExternalServiceError: the provider does not answer, or nonsense.
            ServiceUnavailableError: it is not configured any more.
        """


def configured(settings: LocalSettings) -> list[Provider]:
    """The providers that are switched on."""
    return [made for make in (_google, _github) if (made := make(settings)) is not None]


def _google(settings: LocalSettings) -> Provider | None:
    if settings.google_client_id is None or settings.google_client_secret is None:
        return None
    return Google(_redirect_uri(settings, Google.name), settings.google_issuer.rstrip("/"))


def _github(settings: LocalSettings) -> Provider | None:
    if settings.github_client_id is None or settings.github_client_secret is None:
        return None
    redirect_uri = _redirect_uri(settings, GitHub.name)
    return GitHub(
        redirect_uri, settings.github_url.rstrip("/"), settings.github_api_url.rstrip("/")
    )


def _redirect_uri(settings: LocalSettings, name: str) -> str:
    return f"{settings.jwt_issuer}{settings.api_v1_str}/auth/oauth/{name}/callback"


def _client_at(name: str) -> OAuthClient:
    """What a provider knows this service by at present: a store may change it any time."""
    try:
        return oauth_client(name)
    except LookupError as error:
        log.warning("sign-in provider is not configured any more", provider=name, reason=str(error))
        raise ServiceUnavailableError(f"Nobody can sign in through {name} at present") from None


class Google:
    """OpenID Connect, found by discovery: https://developers.google.com/identity/openid-connect."""

    name = "google"

    def __init__(self, redirect_uri: str, issuer: str) -> None:
        self.redirect_uri = redirect_uri
        self.issuer = issuer
        self.discovery = f"{issuer}/.well-known/openid-configuration"
        self.keys = remote_keys(self.discovery, issuer=issuer)

    async def address(self, handshake: Handshake) -> str:
        """Where to send the browser."""
        client = _client_at(self.name)
        endpoint = await self._endpoint("authorization_endpoint")
        more = {"scope": "openid email", "nonce": handshake.nonce}
        return _with_query(endpoint, _question(client, self.redirect_uri, handshake, **more))

    async def identify(self, code: str, handshake: Handshake, issuer: str | None) -> Identity:
        """Ask who has brought a code, and believe only what is signed for this sign-in."""
        if issuer not in (None, self.issuer):
            raise BadRequestError("The answer comes from another provider")  # RFC 9207, 2.4
        client = _client_at(self.name)
        endpoint = await self._endpoint("token_endpoint")
        answer = await _swap(self, endpoint, client, code, handshake)
        rules = TokenRules(provider=self.name, issuer=self.issuer, audience=client.id)
        verifier = Verifier(rules, self.keys)
        try:
            claims = (await verifier.principal(str(answer.get("id_token")))).claims
        except TokenRefusedError:
            raise _refused() from None
        if not hmac.compare_digest(str(claims.get("nonce")).encode(), handshake.nonce.encode()):
            raise _refused()
        verified = claims.get("email_verified") is True
        return Identity(self.name, claims["sub"], _email(claims.get("email") if verified else None))

    async def _endpoint(self, name: str) -> str:
        document = await _ask(self.name, self.discovery)
        if not isinstance(document, dict):
            raise _nonsense(self.name)
        endpoint = str(document.get(name))
        genuine = str(document.get("issuer")).rstrip("/") == self.issuer
        if not genuine or urlsplit(endpoint).scheme != urlsplit(self.issuer).scheme:
            raise _nonsense(self.name)
        return endpoint


class GitHub:
    """OAuth with an API of its own: https://docs.github.com/apps/oauth-apps."""

    name = "github"

    def __init__(self, redirect_uri: str, url: str, api: str) -> None:
        self.redirect_uri = redirect_uri
        self.url = url
        self.api = api

    async def address(self, handshake: Handshake) -> str:
        """Where to send the browser."""
        client = _client_at(self.name)
        query = _question(client, self.redirect_uri, handshake, scope="user:email")
        return _with_query(f"{self.url}/login/oauth/authorize", query)

    async def identify(self, code: str, handshake: Handshake, issuer: str | None) -> Identity:
        """Ask who has brought a code."""
        if issuer not in (None, f"{self.url}/login/oauth"):
            raise BadRequestError("The answer comes from another provider")  # RFC 9207, 2.4
        endpoint = f"{self.url}/login/oauth/access_token"
        answer = await _swap(self, endpoint, _client_at(self.name), code, handshake)
        token = answer.get("access_token")
        if not isinstance(token, str):
            raise _refused()  # it says so with status 200
        user = await _ask(self.name, f"{self.api}/user", token)
        emails = await _ask(self.name, f"{self.api}/user/emails", token)
        try:
            number = user["id"]
            verified = [each["email"] for each in emails if each["primary"] and each["verified"]]
        except (KeyError, TypeError):
            raise _nonsense(self.name) from None
        if not isinstance(number, int):
            raise _nonsense(self.name)
        return Identity(self.name, str(number), _email(next(iter(verified), None)))


def _question(
    client: OAuthClient, redirect_uri: str, handshake: Handshake, **more: str
) -> dict[str, str]:
    return {
        "response_type": "code",
        "client_id": client.id,
        "redirect_uri": redirect_uri,
        "state": handshake.state,
        "code_challenge": handshake.challenge,
        "code_challenge_method": "S256",
        **more,
    }


def _with_query(address: str, query: Mapping[str, str]) -> str:
    return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"


def _email(value: object) -> str | None:
    try:
        return normalise_email(value) if isinstance(value, str) else None
    except ValueError:
        return None


async def _swap(
    provider: Provider, endpoint: str, client: OAuthClient, code: str, handshake: Handshake
) -> dict[str, Any]:
    """Swap a code for tokens (RFC 6749, 4.1.3)."""
    body = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": provider.redirect_uri,
        "client_id": client.id,
        "client_secret": client.secret.get_secret_value(),
        "code_verifier": handshake.verifier,
    }
    try:
        async with await _caller() as http, asyncio.timeout(TIMEOUT_SECONDS):
            headers = {"Accept": "application/json"}
            answer = await http.post(endpoint, data=body, headers=headers)
            if answer.status_code in (400, 401, 403):
                raise _refused()
            answer.raise_for_status()
            found = answer.json()
    except (HTTPError, TimeoutError, ValueError) as error:
        raise _silent(provider.name, error) from None
    if not isinstance(found, dict):
        raise _nonsense(provider.name)
    return found


async def _caller() -> AsyncClient:
    return AsyncClient(verify=await asyncio.to_thread(tls), timeout=TIMEOUT_SECONDS)


async def _ask(name: str, address: str, token: str | None = None) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with await _caller() as http, asyncio.timeout(TIMEOUT_SECONDS):
            http.headers.update(headers)
            return await read_json(http, address)
    except (HTTPError, TimeoutError, ValueError) as error:
        raise _silent(name, error) from None


def _silent(name: str, error: Exception) -> ExternalServiceError:
    log.warning("sign-in provider failed", provider=name, reason=type(error).__name__)
    return ExternalServiceError(f"The provider {name} does not answer: try again later")


def _nonsense(name: str) -> ExternalServiceError:
    return ExternalServiceError(f"The provider {name} answers something else than it should")


def _refused() -> UnauthenticatedError:
    return UnauthenticatedError("The provider does not confirm this sign-in: begin again")
