"""Accounts of users who belong to the service itself: everybody may register."""

import uuid

from httpx2 import AsyncClient

from app.core.auth.local.directory import add_user
from app.core.auth.local.models import HOME
from tests.core.issuing.base import Issuer, bearer
from tests.core.local.browsing import Browser
from tests.core.local.elsewhere import Elsewhere, Person
from tests.core.local.people import AUTH, OTHER, PASSWORD, People, account, new_address
from tests.core.mailbox import Mailbox

NEW = "new@example.com"


async def test_who_registers_has_no_rights(people: People) -> None:
    me = (await people.me(await people.signed_in())).json()
    assert (me["roles"], me["tenant"]) == ([], None)


async def test_registering_a_known_address_looks_like_any_other(
    people: People, hashing: list[str]
) -> None:
    seen = []
    for email in (await people.join(), new_address()):
        hashing.clear()
        answer = await people.post("register", email=email, password=OTHER)
        seen.append((answer.status_code, answer.text, list(hashing)))
    assert seen[0] == seen[1]
    assert seen[0][2] == ["hash"]


async def test_registering_again_changes_nothing(people: People) -> None:
    email = await people.join()
    await people.post("register", email=email, password=OTHER)
    await people.login(email)
    assert (await people.post("login", email=email, password=OTHER)).status_code == 401


async def test_who_registers_again_may_choose_a_new_password(
    people: People, mailbox: Mailbox
) -> None:
    email = await people.join()
    await people.post("register", email=email, password=OTHER)
    token = await people.mailed_token(email)
    answer = await people.post("password/reset", token=token, password=OTHER)
    assert answer.status_code == 204
    assert "was changed" in (await mailbox.next(email))["Subject"]
    await people.login(email, OTHER)
    await people.post("register", email=email, password=OTHER)
    assert "already" in (await mailbox.next(email))["Subject"]


async def test_an_account_that_came_first_stays_whose_it_is(people: People) -> None:
    email = new_address()
    await people.post("register", email=email, password=PASSWORD)
    token = await people.mailed_token(email)
    async with HOME.session_context() as session:
        await add_user(session, email, password_hash=None)  # by an administrator, for example
    answer = await people.post("verify-email", token=token)
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "There is an account with this address already: sign in",
    )


async def test_there_are_no_invitations(client: AsyncClient) -> None:
    assert (await client.post(f"{AUTH}/invitations", json={})).status_code == 404


async def test_a_token_of_an_unknown_user_has_no_sessions(people: People, issuer: Issuer) -> None:
    nobody = bearer(issuer.token(str(uuid.uuid4())))
    assert (await people.caller.get(f"{AUTH}/sessions", headers=nobody)).json() == {"items": []}


async def test_somebody_new_gets_an_account(
    browser: Browser, people: People, elsewhere: Elsewhere, provider: str
) -> None:
    elsewhere.person = Person(5, NEW)
    first = await browser.sign_in(provider)
    again = await browser.sign_in(provider)
    assert await browser.subject(first) == await browser.subject(again)
    async with account(NEW) as user:
        assert user.password_hash is None
    answer = await people.post("login", email=NEW, password=PASSWORD)
    assert answer.status_code == 401


async def test_a_pending_registration_of_somebody_else_is_worth_nothing(
    browser: Browser, people: People, elsewhere: Elsewhere
) -> None:
    elsewhere.person = Person(5, NEW)
    await people.post("register", email=NEW, password="of an attacker, long")  # noqa: S106
    token = await people.mailed_token(NEW)
    await browser.subject(await browser.sign_in("google"))
    assert (await people.post("verify-email", token=token)).status_code == 400
    answer = await people.post("login", email=NEW, password="of an attacker, long")  # noqa: S106
    assert answer.status_code == 401
