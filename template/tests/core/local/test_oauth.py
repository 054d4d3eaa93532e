"""Sign-in through Google and GitHub."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import jwt
import pytest
from httpx2 import AsyncClient, Response
from sqlalchemy import select

from app.config import Settings
from app.core.application import create_app
from app.core.auth.local.keys import derive
from app.core.auth.local.models import HOME, User, UserIdentity
from app.core.database.types import utc_now
from tests.core.issuing.base import bearer
from tests.core.local.elsewhere import Elsewhere, Person
from tests.core.local.people import AUTH, PASSWORD, People
from tests.core.mailbox import Mailbox
from tests.core.plugin import caller_of, with_changes

PROVIDERS = ("google", "github")


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere().running() as elsewhere:
        yield elsewhere


@dataclass
class Browser:
    """Somebody's browser: it keeps the cookies of the service."""

    client: AsyncClient

    async def begin(self, provider: str) -> str:
        """Start a sign-in and give where the service sends the browser."""
        answer = await self.client.get(f"{AUTH}/oauth/{provider}")
        assert answer.status_code == 303, answer.text
        return answer.headers["Location"]

    async def visit(self, address: str) -> dict[str, str]:
        """Sign in at the provider and give what it sends back."""
        answer = await asyncio.to_thread(httpx2.get, address)
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


@pytest.fixture
async def browser(
    settings: Settings, rolled_back: None, elsewhere: Elsewhere
) -> AsyncIterator[Browser]:
    service = create_app(with_changes(settings, **elsewhere.settings))
    async with caller_of(service, headers={}) as client:
        yield Browser(client)


@pytest.fixture
async def victim(browser: Browser) -> AsyncIterator[Browser]:
    """Another browser of the same service."""
    transport = browser.client._transport
    async with AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield Browser(client)


async def test_without_a_client_there_is_no_such_sign_in(people: People, provider: str) -> None:
    for path in (provider, f"{provider}/callback"):
        assert (await people.caller.get(f"{AUTH}/oauth/{path}")).status_code == 404


async def test_somebody_new_gets_an_account(browser: Browser, provider: str) -> None:
    first = await browser.sign_in(provider)
    assert first.headers["Cache-Control"] == "no-store"
    again = await browser.sign_in(provider)
    assert await browser.subject(first) == await browser.subject(again)
    async with HOME.read_session_context() as session:
        user = (await session.scalars(select(User).where(User.email == "ada@example.com"))).one()
    assert user.password_hash is None


async def test_both_providers_lead_to_the_same_account(browser: Browser) -> None:
    subjects = {await browser.subject(await browser.sign_in(name)) for name in PROVIDERS}
    assert len(subjects) == 1


async def test_an_account_is_linked_by_a_verified_address(
    browser: Browser, people: People, elsewhere: Elsewhere, provider: str
) -> None:
    email = await people.join()
    own = (await people.me(await people.login(email))).json()["subject"]
    elsewhere.person = Person(1, email.upper())
    assert await browser.subject(await browser.sign_in(provider)) == own
    # From now on it is known by its number, whatever its address becomes.
    elsewhere.person = Person(1, "changed@example.com")
    assert await browser.subject(await browser.sign_in(provider)) == own
    await people.login(email)


async def test_an_unverified_address_opens_no_account(
    browser: Browser, people: People, elsewhere: Elsewhere, provider: str
) -> None:
    email = await people.join()
    for address in (email, "new@example.com", None):
        elsewhere.person = Person(2, address, verified=False)
        assert (await browser.sign_in(provider)).status_code == 403
    async with HOME.read_session_context() as session:
        assert not list(await session.scalars(select(UserIdentity)))


async def test_a_pending_registration_of_somebody_else_is_worth_nothing(
    browser: Browser, people: People, mailbox: Mailbox
) -> None:
    await people.post("register", email="ada@example.com", password="of an attacker, long")  # noqa: S106
    token = await people.mailed_token("ada@example.com")
    await browser.subject(await browser.sign_in("google"))
    assert (await people.post("verify-email", token=token)).status_code == 400
    answer = await people.post("login", email="ada@example.com", password="of an attacker, long")  # noqa: S106
    assert answer.status_code == 401


async def test_without_a_password_nobody_signs_in_by_password(
    browser: Browser, people: People
) -> None:
    await browser.sign_in("google")
    answer = await people.post("login", email="ada@example.com", password=PASSWORD)
    assert answer.status_code == 401


async def test_a_disabled_account_stays_closed(browser: Browser, provider: str) -> None:
    await browser.sign_in(provider)
    async with HOME.session_context() as session:
        (await session.scalars(select(User))).one().disabled_at = utc_now()
    assert (await browser.sign_in(provider)).status_code == 401


# --- attacks ---


async def test_the_cookie_is_for_this_purpose_only(
    browser: Browser, settings: Settings, provider: str
) -> None:
    answer = await browser.client.get(f"{AUTH}/oauth/{provider}")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert f"Path={AUTH}/oauth" in cookie
    assert "Max-Age=600" in cookie
    secure = create_app(
        with_changes(
            settings,
            auth_issuer="https://api.example.com",
            github_client_id="id",
            github_client_secret="secret",  # noqa: S106
        )
    )
    async with caller_of(secure, headers={}) as caller:
        answer = await caller.get(f"{AUTH}/oauth/github")
    assert "Secure" in answer.headers["Set-Cookie"]


async def test_a_wrong_state_is_refused(
    browser: Browser, elsewhere: Elsewhere, provider: str
) -> None:
    brought = await browser.visit(await browser.begin(provider))
    for state in ("", "x", brought["state"] + "x", "é"):
        answer = await browser.come_back(provider, brought | {"state": state})
        assert answer.status_code == 400
    without = {name: value for name, value in brought.items() if name != "state"}
    assert (await browser.come_back(provider, without)).status_code == 400
    assert elsewhere.codes, "the code is not even asked about"


async def test_nobody_is_signed_in_by_the_link_of_an_attacker(
    browser: Browser, victim: Browser, provider: str
) -> None:
    brought = await browser.visit(await browser.begin(provider))
    assert (await victim.come_back(provider, brought)).status_code == 400
    await victim.begin(provider)
    assert (await victim.come_back(provider, brought)).status_code == 400


async def test_a_stolen_code_is_worth_nothing_in_another_browser(
    browser: Browser, victim: Browser, provider: str
) -> None:
    """The attacker's own handshake has another verifier (PKCE) and another nonce."""
    stolen = (await victim.visit(await victim.begin(provider)))["code"]
    own = await browser.visit(await browser.begin(provider))
    assert (await browser.come_back(provider, own | {"code": stolen})).status_code == 401


async def test_a_code_works_once(browser: Browser, provider: str) -> None:
    address = await browser.begin(provider)
    brought = await browser.visit(address)
    kept = dict(browser.client.cookies)
    assert (await browser.come_back(provider, brought)).status_code == 200
    assert (await browser.come_back(provider, brought)).status_code == 400, "the cookie is gone"
    browser.client.cookies.update(kept)
    assert (await browser.come_back(provider, brought)).status_code == 401


async def test_the_answer_of_one_provider_is_none_of_another(browser: Browser) -> None:
    """Mix-up (RFC 9700, 4.4): each provider has a callback and a cookie of its own."""
    brought = await browser.visit(await browser.begin("google"))
    await browser.begin("github")
    assert (await browser.come_back("github", brought)).status_code == 400
    value = browser.client.cookies.get("sign_in_google")
    browser.client.cookies.set("sign_in_github", value or "", path=f"{AUTH}/oauth")
    assert (await browser.come_back("github", brought)).status_code == 400


async def test_another_issuer_is_refused(
    browser: Browser, elsewhere: Elsewhere, provider: str
) -> None:
    brought = await browser.visit(await browser.begin(provider))
    answer = await browser.come_back(provider, brought | {"iss": "https://evil.example.com"})
    assert answer.status_code == 400
    assert elsewhere.codes


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"aud": "another-client"},
        {"iss": "https://evil.example.com"},
        {"exp": 1},
        {"sub": ""},
    ],
)
async def test_an_id_token_of_another_sign_in_is_refused(
    browser: Browser, elsewhere: Elsewhere, changes: dict[str, object]
) -> None:
    elsewhere.changes = changes
    assert (await browser.sign_in("google")).status_code == 401


async def test_an_address_is_verified_only_if_the_provider_says_so_plainly(
    browser: Browser, elsewhere: Elsewhere
) -> None:
    for said in ("true", 1, None, "yes"):
        elsewhere.changes = {"email_verified": said}
        assert (await browser.sign_in("google")).status_code == 403


async def test_a_sign_in_that_took_too_long_is_refused(
    browser: Browser, settings: Settings, provider: str
) -> None:
    brought = await browser.visit(await browser.begin(provider))
    key = derive(settings.secret_key.get_secret_value(), "oauth handshake")
    name = f"sign_in_{provider}"
    kept = jwt.decode(str(browser.client.cookies[name]), key, algorithms=["HS256"])
    browser.client.cookies.clear()
    old = jwt.encode(kept | {"exp": 1}, key, "HS256")
    browser.client.cookies.set(name, old, path=f"{AUTH}/oauth")
    assert (await browser.come_back(provider, brought)).status_code == 400


async def test_who_is_refused_over_there_is_told_so(browser: Browser, provider: str) -> None:
    brought = await browser.visit(await browser.begin(provider))
    refused = {"state": brought["state"], "error": "access_denied"}
    assert (await browser.come_back(provider, refused)).status_code == 401


async def test_a_provider_that_fails_is_no_500(
    browser: Browser, elsewhere: Elsewhere, provider: str
) -> None:
    brought = await browser.visit(await browser.begin(provider))
    elsewhere.broken = {"/token", "/login/oauth/access_token"}
    answer = await browser.come_back(provider, brought)
    assert (answer.status_code, answer.json()["code"]) == (502, "external_service")
    assert elsewhere.url not in answer.text


async def test_a_discovery_document_of_somebody_else_is_not_believed(
    browser: Browser, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = elsewhere._document()
    monkeypatch.setattr(
        elsewhere, "_document", lambda: real | {"issuer": "https://evil.example.com"}
    )
    answer = await browser.client.get(f"{AUTH}/oauth/google")
    assert answer.status_code == 502
