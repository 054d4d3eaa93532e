"""Sign-in through Google and GitHub."""

import jwt
import pytest
from sqlalchemy import select

from app.config import Settings
from app.core.application import create_app
from app.core.auth.local.keys import derive
from app.core.auth.local.models import HOME, UserIdentity
from app.core.auth.local.oauth import providers, routes
from app.core.auth.local.realms.realm import everywhere
from app.core.database.types import utc_now
from app.core.secrets import secrets
from tests.core.local.browsing import ADA, PROVIDERS, Browser
from tests.core.local.elsewhere import Elsewhere, Person
from tests.core.local.people import AUTH, People, account
from tests.core.local.realms.realm import naming
from tests.core.plugin import caller_of, with_changes


async def test_without_a_client_there_is_no_such_sign_in(people: People, provider: str) -> None:
    for path in (provider, f"{provider}/callback"):
        assert (await people.caller.get(f"{AUTH}/oauth/{path}")).status_code == 404


async def test_both_providers_lead_to_the_same_account(browser: Browser) -> None:
    subjects = {await browser.subject(await browser.sign_in(name)) for name in PROVIDERS}
    assert len(subjects) == 1


async def test_a_provider_is_not_tired(
    settings: Settings, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "MOST", "2/day")
    own = with_changes(settings, **elsewhere.settings)
    with secrets.given_by(own):
        async with caller_of(create_app(own), headers={}) as client:
            for path in ("google", "google/callback"):
                answers = [await client.get(f"{AUTH}/oauth/{path}") for _ in range(3)]
                refused = [answer.status_code == 429 for answer in answers]
                assert refused == [False, False, True]


async def test_an_account_is_linked_by_a_verified_address(
    browser: Browser, people: People, elsewhere: Elsewhere, provider: str
) -> None:
    email = await people.join()
    own = (await people.me(await people.login(email))).json()["subject"]
    elsewhere.person = Person(1, email.upper())
    browser.email = email
    assert await browser.subject(await browser.sign_in(provider)) == own
    assert provider in (await people.mailbox.next(email))["Subject"]
    # From now on it is known by its number, whatever its address becomes.
    elsewhere.person = Person(1, "changed@example.com")
    answer = await browser.sign_in(provider)
    assert answer.headers["Cache-Control"] == "no-store"
    assert await browser.subject(answer) == own
    await people.login(email)
    assert await people.mails_left(email) == 0


async def test_an_unverified_address_opens_no_account(
    browser: Browser, people: People, elsewhere: Elsewhere, provider: str
) -> None:
    browser.email = email = await people.join()
    for address in (email, "new@example.com", None):
        elsewhere.person = Person(2, address, verified=False)
        assert (await browser.sign_in(provider)).status_code == 403
    with everywhere("test"):
        async with HOME.read_session_context() as session:
            assert not list(await session.scalars(select(UserIdentity)))


async def test_a_disabled_account_stays_closed(
    browser: Browser, provider: str, audited: list[dict[str, object]]
) -> None:
    await browser.sign_in(provider)
    events = [line["event"] for line in audited if line.get("provider") == provider]
    assert events == ["identity.linked", "login.succeeded"]
    async with account(ADA) as user:
        user.disabled_at = utc_now()
    assert (await browser.sign_in(provider)).status_code == 401
    assert audited[-1]["event"] == "login.failed"


async def test_a_client_that_is_not_configured_any_more_signs_nobody_in(
    browser: Browser, settings: Settings, provider: str
) -> None:
    with secrets.given_by(settings):
        answer = await browser.client.get(f"{AUTH}/oauth/{provider}", params=naming(ADA))
    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")


# --- attacks ---


async def test_the_cookie_is_for_this_purpose_only(
    browser: Browser, settings: Settings, provider: str
) -> None:
    answer = await browser.client.get(f"{AUTH}/oauth/{provider}", params=naming(ADA))
    assert answer.headers["Cache-Control"] == "no-store"
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
        answer = await caller.get(f"{AUTH}/oauth/github", params=naming(ADA))
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
    answer = await browser.come_back(provider, refused)
    assert (answer.status_code, answer.json()["detail"]) == (
        401,
        "The provider has not signed you in",
    )


async def test_a_provider_that_fails_is_no_500(
    browser: Browser, elsewhere: Elsewhere, provider: str
) -> None:
    brought = await browser.visit(await browser.begin(provider))
    elsewhere.broken = {"/token", "/login/oauth/access_token"}
    answer = await browser.come_back(provider, brought)
    assert (answer.status_code, answer.json()["code"]) == (502, "external_service")
    assert elsewhere.url not in answer.text


@pytest.mark.parametrize(
    ("provider", "path", "said"),
    [
        ("google", "/.well-known/openid-configuration", []),
        ("google", "/token", []),
        ("github", "/login/oauth/access_token", []),
        ("github", "/api/user", []),
        ("github", "/api/user", {"id": "ada"}),
        ("github", "/api/user", {"id": 4711.5}),
        ("github", "/api/user/emails", {"message": "Not Found"}),
        ("github", "/api/user/emails", ["ada@example.com"]),
    ],
)
async def test_what_a_provider_should_not_say_is_no_500(
    browser: Browser, elsewhere: Elsewhere, provider: str, path: str, said: object
) -> None:
    brought = await browser.visit(await browser.begin(provider))
    elsewhere.said[path] = said
    answer = await browser.come_back(provider, brought)
    assert (answer.status_code, answer.json()["code"]) == (502, "external_service")
    assert "something else than it should" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("provider", "path"),
    [
        ("google", "/.well-known/openid-configuration"),
        ("google", "/token"),
        ("github", "/login/oauth/access_token"),
        ("github", "/api/user"),
    ],
)
async def test_a_provider_that_drips_is_not_waited_for(
    browser: Browser,
    elsewhere: Elsewhere,
    monkeypatch: pytest.MonkeyPatch,
    provider: str,
    path: str,
) -> None:
    brought = await browser.visit(await browser.begin(provider))
    monkeypatch.setattr(providers, "TIMEOUT_SECONDS", 1.0)
    elsewhere.said[path] = {"padding": "x" * 200}
    elsewhere.dripping = {path}
    answer = await browser.come_back(provider, brought)
    assert (answer.status_code, answer.json()["code"]) == (502, "external_service")
    assert "does not answer" in answer.json()["detail"]


async def test_a_discovery_document_of_somebody_else_is_not_believed(
    browser: Browser, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = elsewhere._document()
    monkeypatch.setattr(
        elsewhere, "_document", lambda: real | {"issuer": "https://evil.example.com"}
    )
    answer = await browser.client.get(f"{AUTH}/oauth/google", params=naming(ADA))
    assert answer.status_code == 502
