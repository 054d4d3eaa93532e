"""Accounts of users who belong to tenants: registering founds one, further users are invited."""

import asyncio

import pytest
from httpx2 import Response

from app.config import Settings
from app.core.auth.local import throttle
from app.core.auth.local.directory import add_user
from app.core.auth.local.models import HOME
from app.core.auth.local.realms.realm import entered
from app.core.auth.local.realms.tenants import find_tenant
from app.core.tenancy import across_tenants
from app.core.tenancy.directory import delete_tenant, directory, suspend_tenant
from tests.core.issuing.base import Issuer, bearer
from tests.core.local.browsing import Browser
from tests.core.local.elsewhere import Elsewhere, Person
from tests.core.local.people import AUTH, OTHER, PASSWORD, People, Tokens, new_address
from tests.core.local.realms.tenants import naming, realm_of, slug_of
from tests.core.local.test_admin import run
from tests.core.mailbox import Mailbox
from tests.core.plugin import Addresses


async def invite(people: People, by: Tokens, email: str, role: str = "member") -> Response:
    return await people.post("invitations", bearer(by["access_token"]), email=email, role=role)


async def accept(people: People, email: str, password: str = PASSWORD) -> Response:
    token = await people.mailed_token(email)
    return await people.post("invitations/accept", token=token, password=password)


async def test_who_registers_owns_a_new_tenant(people: People) -> None:
    email = await people.join()
    tokens = await people.login(email)
    me = (await people.me(tokens)).json()
    assert me["roles"] == ["owner"]
    headers = bearer(tokens["access_token"])
    tenant = (await people.caller.get("/api/v1/tenant", headers=headers)).json()
    slug = slug_of(email)
    assert (tenant["id"], tenant["slug"], tenant["name"]) == (me["tenant"], slug, f"Tenant {slug}")
    refreshed = (await people.refresh(tokens)).json()
    assert (await people.me(refreshed)).json()["tenant"] == me["tenant"]


async def test_nobody_waits_for_a_replica_that_is_late(late: People) -> None:
    owner, email = await late.join(), new_address()
    tokens = await late.login(owner)
    tenant = await late.caller.get("/api/v1/tenant", headers=bearer(tokens["access_token"]))
    assert tenant.json()["slug"] == slug_of(owner)
    assert (await invite(late, tokens, email)).status_code == 202
    assert (await accept(late, email)).status_code == 204
    await late.login(email, **naming(owner))
    again = {"email": new_address(), "password": PASSWORD, **naming(owner)}
    assert (await late.post("register", **again)).status_code == 409


async def test_nothing_is_founded_before_the_address_is_verified(people: People) -> None:
    email = new_address()
    await people.post("register", email=email, password=PASSWORD)
    assert await find_tenant(slug_of(email)) is None


async def test_nobody_joins_a_tenant_by_naming_it(people: People) -> None:
    owner, stranger = await people.join(), new_address()
    answer = await people.post("register", email=stranger, password=PASSWORD, **naming(owner))
    assert answer.status_code == 409
    answer = await people.post("login", email=stranger, password=PASSWORD, **naming(owner))
    assert answer.status_code == 401


async def test_a_slug_that_was_taken_meanwhile_gives_no_tenant(people: People) -> None:
    first, second = new_address(), new_address()
    for email in (first, second):
        body = {"email": email, "password": PASSWORD, "tenant": slug_of(first)}
        assert (await people.post("register", **body)).status_code == 202
    tokens = [await people.mailed_token(email) for email in (first, second)]
    answers = [await people.post("verify-email", token=token) for token in tokens]
    assert [answer.status_code for answer in answers] == [204, 409]
    answer = await people.post("login", email=second, password=PASSWORD, **naming(first))
    assert answer.status_code == 401


async def test_one_slug_is_given_once_however_many_want_it(crowd: People) -> None:
    emails = [new_address() for _ in range(5)]
    for email in emails:
        body = {"email": email, "password": PASSWORD, "tenant": slug_of(emails[0])}
        await crowd.post("register", **body)
    tokens = [await crowd.mailed_token(email) for email in emails]
    answers = await asyncio.gather(*(crowd.post("verify-email", token=each) for each in tokens))
    assert sorted(answer.status_code for answer in answers) == [204, 409, 409, 409, 409]


@pytest.mark.parametrize("name", [" ", "two\nlines", "two\u2028lines", "see https://evil.example"])
async def test_a_name_is_nothing_but_a_name(people: People, name: str) -> None:
    """Mails repeat it, to whomever its tenant invites."""
    body = {"email": new_address(), "password": PASSWORD, "tenant_name": name}
    assert (await people.post("register", **body)).status_code == 422


async def test_any_letters_make_a_long_name(people: People) -> None:
    email = new_address()
    body = {"email": email, "password": PASSWORD, "tenant_name": "Ж" * 200}
    assert (await people.post("register", **body)).status_code == 202
    token = await people.mailed_token(email)
    assert (await people.post("verify-email", token=token)).status_code == 204


@pytest.mark.parametrize("slug", ["", "-a", "A", "a b", "a" * 64, "ä", "a\n"])
async def test_what_is_no_slug_is_refused(people: People, slug: str) -> None:
    for path in ("register", "login"):
        answer = await people.post(path, email=new_address(), password=PASSWORD, tenant=slug)
        assert answer.status_code == 422


async def test_an_address_may_have_an_account_in_each_tenant(people: People) -> None:
    email, other = await people.join(), await people.join()
    owner = await people.login(other)
    await invite(people, owner, email)
    assert (await accept(people, email, OTHER)).status_code == 204
    here, there = await people.login(email), await people.login(email, OTHER, **naming(other))
    mine, theirs = [(await people.me(each)).json() for each in (here, there)]
    assert mine["subject"] != theirs["subject"]
    assert mine["tenant"] != theirs["tenant"]
    for password, slug in ((OTHER, email), (PASSWORD, other)):
        answer = await people.post("login", email=email, password=password, **naming(slug))
        assert answer.status_code == 401


async def test_a_password_is_reset_in_one_tenant_only(people: People) -> None:
    email, other = await people.join(), await people.join()
    await invite(people, await people.login(other), email)
    await accept(people, email)
    await people.post("password/forgot", email=email, **naming(other))
    token = await people.mailed_token(email)
    assert (await people.post("password/reset", token=token, password=OTHER)).status_code == 204
    await people.login(email)
    await people.login(email, OTHER, **naming(other))


async def test_unknown_tenants_are_as_unknown_as_users(
    people: People, hashing: list[str], mailbox: Mailbox
) -> None:
    known = await people.join()
    seen = []
    for email in (known, new_address()):
        hashing.clear()
        answer = await people.post("login", email=new_address(), password=OTHER, **naming(email))
        seen.append((answer.status_code, answer.json()["detail"], list(hashing)))
    assert seen[0] == seen[1]
    assert seen[0][2] == ["verify"]
    nobody = new_address()
    assert (await people.post("password/forgot", email=nobody)).status_code == 202
    assert "no account" in (await mailbox.next(nobody))["Subject"]


async def suspend(email: str, *, suspended: bool = True) -> None:
    """Keep the tenant of an address out, or let it in again."""
    with across_tenants("test"):
        async with HOME.session_context() as session:
            tenant = await find_tenant(slug_of(email))
            assert tenant is not None
            await suspend_tenant(session, await session.merge(tenant), suspended=suspended)


async def test_nobody_signs_in_to_a_suspended_tenant(people: People) -> None:
    email = await people.join()
    tokens = await people.login(email)
    await invite(people, tokens, invited := new_address())
    await suspend(email)
    answer = await people.post("login", email=email, password=PASSWORD)
    assert answer.status_code == 401
    assert (await people.me(tokens)).status_code == 403
    assert (await accept(people, invited)).status_code == 400


async def test_a_suspended_tenant_gets_no_further_tokens(people: People) -> None:
    """Other services take them too, and know nothing of tenants here."""
    email = await people.join()
    tokens = await people.login(email)
    await suspend(email)
    assert (await people.refresh(tokens)).status_code == 401
    await suspend(email, suspended=False)
    assert (await people.refresh(tokens)).status_code == 200


async def test_who_comes_back_from_a_provider_to_a_suspended_tenant_stays_out(
    browser: Browser,
) -> None:
    brought = await browser.visit(await browser.begin("google"))
    await suspend(browser.email)
    assert (await browser.come_back("google", brought)).status_code == 401


# --- invitations ---


async def test_an_invitation_makes_a_member(
    people: People, audited: list[dict[str, object]]
) -> None:
    owner, email = await people.join(), new_address()
    tokens = await people.login(owner)
    assert (await invite(people, tokens, email)).status_code == 202
    token = await people.mailed_token(email)
    body = {"token": token, "password": PASSWORD}
    statuses = [
        (await people.post("invitations/accept", **(body | changes))).status_code
        for changes in ({"password": "short"}, {}, {})
    ]
    assert statuses == [422, 204, 400]
    me = (await people.me(await people.login(email, **naming(owner)))).json()
    assert me["roles"] == ["member"]
    assert me["tenant"] == (await people.me(tokens)).json()["tenant"]
    events = [line["event"] for line in audited]
    assert events.count("user.invited") == events.count("user.joined") == 1


async def test_an_invitation_is_tried_a_few_times(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = await people.signed_in()
    first, second = new_address(), new_address()
    for email in (first, second):
        await invite(people, tokens, email)
    with monkeypatch.context() as patch:
        patch.setattr(throttle, "ADDRESS", throttle.Limit("address of few", 1, throttle.QUARTER))
        for email in (first, second):  # what succeeds is no guess
            assert (await accept(people, email)).status_code == 204
    await invite(people, tokens, third := new_address())
    monkeypatch.setattr(throttle, "TOKEN", throttle.Limit("token", 0, throttle.QUARTER))
    assert (await accept(people, third)).status_code == 429


async def test_who_may_invite_whom(people: People) -> None:
    owner = await people.join()
    tokens = await people.login(owner)
    people_of = {}
    for role in ("manager", "member"):
        email = new_address()
        assert (await invite(people, tokens, email, role)).status_code == 202
        await accept(people, email)
        people_of[role] = await people.login(email, **naming(owner))
    assert (await invite(people, people_of["manager"], new_address())).status_code == 202
    assert (await invite(people, people_of["manager"], new_address(), "manager")).status_code == 403
    assert (await invite(people, people_of["member"], new_address())).status_code == 403
    for role in ("owner", "admin"):  # nobody gives away what is not the tenant's
        assert (await invite(people, tokens, new_address(), role)).status_code == 422
    answer = await people.post("invitations", email=new_address())
    assert answer.status_code == 401


async def test_a_token_without_a_tenant_invites_nobody(people: People, issuer: Issuer) -> None:
    tokens = {"access_token": issuer.token(roles=["owner"])}
    assert (await invite(people, tokens, new_address())).status_code == 403


async def test_nobody_is_invited_into_a_tenant_that_was_closed_elsewhere(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await people.join()
    tokens = await people.login(owner)
    assert (await people.me(tokens)).status_code == 200
    monkeypatch.setattr(directory, "forget", lambda _: None)  # another process has other memories
    realm = await realm_of(owner)
    assert realm is not None
    await delete_tenant(realm)
    assert (await invite(people, tokens, new_address())).status_code == 403


async def test_members_are_not_invited_again(people: People) -> None:
    owner = await people.join()
    assert (await invite(people, await people.login(owner), owner)).status_code == 409


async def test_whoever_has_become_a_member_meanwhile_is_told_so(people: People) -> None:
    owner, email = await people.join(), new_address()
    await invite(people, await people.login(owner), email)
    with entered(await realm_of(owner)):
        async with HOME.session_context() as session:
            await add_user(session, email, None)
    answer = await accept(people, email)
    assert answer.status_code == 409
    assert answer.json()["detail"] == "There is an account with this address already: sign in"


def test_a_command_names_a_tenant_that_is_there(own_databases: Addresses) -> None:
    done = run(own_databases, "show", "ada@example.com", "--tenant", "of-nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("There is no tenant of-nobody\n")


async def test_the_newest_invitation_counts(people: People) -> None:
    owner, email = await people.join(), new_address()
    tokens = await people.login(owner)
    await invite(people, tokens, email, "manager")
    first = await people.mailed_token(email)
    await invite(people, tokens, email)
    second = await people.mailed_token(email)
    for token, status in ((first, 400), (second, 204)):
        answer = await people.post("invitations/accept", token=token, password=PASSWORD)
        assert answer.status_code == status


async def test_two_tenants_may_invite_the_same(people: People) -> None:
    owners, email = [await people.join(), await people.join()], new_address()
    tokens = []
    for owner in owners:
        await invite(people, await people.login(owner), email)
        tokens.append(await people.mailed_token(email))
    for token, owner in zip(tokens, owners, strict=True):
        answer = await people.post("invitations/accept", token=token, password=PASSWORD)
        assert answer.status_code == 204
        await people.login(email, **naming(owner))


async def test_sessions_of_another_tenant_are_out_of_reach(people: People) -> None:
    email, other = await people.join(), await people.join()
    mine, theirs = await people.login(email), await people.login(other)
    headers = bearer(theirs["access_token"])
    items = (await people.caller.get(f"{AUTH}/sessions", headers=headers)).json()["items"]
    address = f"{AUTH}/sessions/{items[0]['id']}"
    answer = await people.caller.delete(address, headers=bearer(mine["access_token"]))
    assert answer.status_code == 404
    assert (await people.refresh(theirs)).status_code == 200


# --- sign-in through others ---


async def test_who_was_not_invited_gets_no_account(
    browser: Browser, elsewhere: Elsewhere, provider: str
) -> None:
    elsewhere.person = Person(7, "stranger@example.com")
    answer = await browser.sign_in(provider)
    assert answer.status_code == 403
    assert "invitation" in answer.json()["detail"]


async def test_an_identity_opens_one_account_in_each_tenant(
    browser: Browser, people: People, elsewhere: Elsewhere, settings: Settings
) -> None:
    owner = await people.join()
    await invite(people, await people.login(owner), elsewhere.person.email or "")
    await accept(people, elsewhere.person.email or "")
    here = await browser.subject(await browser.sign_in("google"))
    browser.email = owner
    there = await browser.subject(await browser.sign_in("google"))
    assert here != there
