"""Changing one's e-mail address."""

import asyncio
from typing import Any

import pytest
from httpx2 import Response
from sqlalchemy import select

from app.core.auth.local import throttle
from app.core.auth.local.directory import add_user
from app.core.auth.local.models import HOME, MailToken
from app.core.auth.local.parts import count_mail
from app.core.auth.local.passwords import Passwords, Verdict
from app.core.auth.local.realms.realm import entered
from app.core.database.types import utc_now
from tests.core.issuing.base import bearer
from tests.core.local.people import OTHER, PASSWORD, People, Tokens, account, new_address
from tests.core.local.realms.realm import naming, realm_of
from tests.core.mailbox import Mailbox

Lines = list[dict[str, object]]


async def ask(people: People, tokens: Tokens, new: str, password: str = PASSWORD) -> Response:
    body = {"new_email": new, "current_password": password}
    return await people.post("email/change", bearer(tokens["access_token"]), **body)


async def confirm(people: People, tokens: Tokens, token: str) -> int:
    answer = await people.post("email/confirm", bearer(tokens["access_token"]), token=token)
    return answer.status_code


async def sign_in(people: People, email: str, old: str, password: str = PASSWORD) -> int:
    """Sign in with an address, in the realm of whoever had the old one."""
    body = {"email": email, "password": password, **naming(old)}
    return (await people.post("login", **body)).status_code


async def neighbour_of(email: str) -> str:
    """Give somebody else an account in the same realm, with the same password."""
    async with account(email) as user:
        password_hash = user.password_hash
    with entered(await realm_of(email)):
        async with HOME.session_context() as session:
            return (await add_user(session, new_address(), password_hash)).email


async def two_who_want_the_same(crowd: People) -> list[tuple[Tokens, str]]:
    """Let two ask for one address, and give both the token of their mail to it."""
    first, new = await crowd.join(), new_address()
    mailed = []
    for email in (first, await neighbour_of(first)):
        tokens = await crowd.login(email, **naming(first))
        await ask(crowd, tokens, new)
        mailed.append((tokens, await crowd.mailed_token(new)))
    return mailed


async def test_an_address_is_changed_by_who_reads_the_new_one(
    people: People, mailbox: Mailbox, audited: Lines
) -> None:
    old, new = await people.join(), new_address()
    tokens = await people.login(old)
    assert (await ask(people, tokens, new)).status_code == 202
    assert "is to be changed" in (await mailbox.next(old))["Subject"]
    assert await sign_in(people, old, old) == 200, "nothing has changed yet"
    token = await people.mailed_token(new)
    assert [await confirm(people, tokens, token) for _ in range(2)] == [204, 400]
    assert "was changed" in (await mailbox.next(old))["Subject"]
    assert (await people.refresh(tokens)).status_code == 401, "all sessions have ended"
    assert [await sign_in(people, each, old) for each in (new, old)] == [200, 401]
    events = [line["event"] for line in audited]
    assert [each for each in events if "email" in str(each)] == [
        "email.change_asked",
        "email.changed",
    ]


async def test_whoever_reads_the_mail_alone_gets_no_account(people: People) -> None:
    """The new address may be mistyped, and a stranger's."""
    old, new = await people.join(), new_address()
    tokens = await people.login(old)
    await ask(people, tokens, new)
    token, stranger = await people.mailed_token(new), await people.signed_in()
    assert (await people.post("email/confirm", token=token)).status_code == 401
    answers = [
        await people.post("email/confirm", bearer(stranger["access_token"]), token=each)
        for each in (token, "of nobody")
    ]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[0].json()["detail"] == answers[1].json()["detail"]
    assert await sign_in(people, old, old) == 200, "nothing has changed"
    assert await confirm(people, tokens, token) == 204


async def test_the_user_stays_the_same(people: People) -> None:
    old, new = await people.join(), new_address()
    tokens = await people.login(old)
    await ask(people, tokens, new)
    await confirm(people, tokens, await people.mailed_token(new))
    again = await people.login(new, **naming(old))
    before, after = [(await people.me(each)).json() for each in (tokens, again)]
    assert (before["subject"], before["roles"]) == (after["subject"], after["roles"])


async def test_an_address_is_changed_only_by_who_knows_the_password(
    people: People, audited: Lines
) -> None:
    tokens, new = await people.signed_in(), new_address()
    body = {"new_email": new, "current_password": PASSWORD}
    assert (await people.post("email/change", **body)).status_code == 401
    statuses = [(await ask(people, tokens, new, OTHER)).status_code for _ in range(6)]
    assert statuses == [403] * 5 + [429]
    assert (await ask(people, tokens, new)).status_code == 429
    assert await people.mails_left(new) == 0
    assert "email.change_failed" in [line["event"] for line in audited]


async def test_a_password_changed_meanwhile_stops_the_change(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    email, new = await people.join(), new_address()
    tokens = await people.login(email)
    verify = Passwords.verify

    async def change_meanwhile(self: Passwords, password: str, stored: str | None) -> Verdict:
        verdict = await verify(self, password, stored)
        async with account(email) as user:
            user.password_hash = await self.hash(OTHER)
        return verdict

    monkeypatch.setattr(Passwords, "verify", change_meanwhile)
    assert (await ask(people, tokens, new)).status_code == 409
    assert await people.mails_left(new) == 0


async def test_nobody_learns_who_has_an_address(
    people: People, mailbox: Mailbox, hashing: list[str]
) -> None:
    mine, free = await people.join(), new_address()
    tokens = await people.login(mine)
    theirs = await neighbour_of(mine)
    seen = []
    for address in (theirs, free):
        hashing.clear()
        answer = await ask(people, tokens, address)
        seen.append((answer.status_code, answer.json(), list(hashing)))
        assert "is to be changed" in (await mailbox.next(mine))["Subject"]
    assert seen[0] == seen[1]
    assert "has an account" in (await mailbox.next(theirs))["Subject"]


async def test_a_new_password_withdraws_the_change(people: People) -> None:
    """What the mail to the present address says to do."""
    for way in ("change", "reset"):
        old, new = await people.join(), new_address()
        tokens = await people.login(old)
        await ask(people, tokens, new)
        token = await people.mailed_token(new)
        if way == "change":
            body = {"current_password": PASSWORD, "new_password": OTHER}
            await people.post("password/change", bearer(tokens["access_token"]), **body)
        else:
            await people.mailbox.next(old)
            await people.post("password/forgot", email=old)
            mailed = await people.mailed_token(old)
            await people.post("password/reset", token=mailed, password=OTHER)
        assert await confirm(people, tokens, token) == 400
        assert await sign_in(people, old, old, OTHER) == 200


async def test_the_last_of_several_wishes_holds(people: People) -> None:
    old = await people.join()
    tokens, wishes = await people.login(old), [new_address(), new_address()]
    mailed = []
    for wish in wishes:
        await ask(people, tokens, wish)
        mailed.append(await people.mailed_token(wish))
    assert [await confirm(people, tokens, token) for token in mailed] == [400, 204]


async def test_mails_to_the_old_address_are_worth_nothing_any_more(people: People) -> None:
    old, new = await people.join(), new_address()
    tokens = await people.login(old)
    await ask(people, tokens, new)
    await people.mailbox.next(old)
    await people.post("password/forgot", email=old)
    reset = await people.mailed_token(old)
    await confirm(people, tokens, await people.mailed_token(new))
    assert (await people.post("password/reset", token=reset, password=OTHER)).status_code == 400
    async with HOME.session_context() as session:
        left = await session.scalars(select(MailToken).where(MailToken.email == old))
        assert left.all() == [], "not even if it becomes the address again"


async def test_a_mail_that_was_asked_for_while_the_address_changed_is_worth_nothing(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = await people.join(), new_address()
    tokens = await people.login(old)
    await ask(people, tokens, new)
    change = await people.mailed_token(new)

    async def confirm_meanwhile(*given: Any) -> bool:
        assert await confirm(people, tokens, change) == 204
        for _ in range(2):  # what the old address is told of the change
            await people.mailbox.next(old)
        return await count_mail(*given)

    monkeypatch.setattr("app.core.auth.local.accounts.count_mail", confirm_meanwhile)
    await people.post("password/forgot", email=old)
    reset = await people.mailed_token(old)
    assert (await people.post("password/reset", token=reset, password=OTHER)).status_code == 400
    assert await sign_in(people, new, old) == 200, "the password is the same"


async def test_a_disabled_user_changes_nothing(people: People) -> None:
    old, new = await people.join(), new_address()
    tokens = await people.login(old)
    await ask(people, tokens, new)
    token = await people.mailed_token(new)
    async with account(old) as user:
        user.disabled_at = utc_now()
    assert await confirm(people, tokens, token) == 400
    assert (await ask(people, tokens, new)).status_code == 403


async def test_an_address_that_was_taken_meanwhile_stays_whose_it_is(crowd: People) -> None:
    mailed = await two_who_want_the_same(crowd)
    statuses = await asyncio.gather(*(confirm(crowd, *both) for both in mailed))
    assert sorted(statuses) == [204, 409]


async def test_whoever_comes_second_is_told_that_the_address_is_taken(crowd: People) -> None:
    answers = [
        await crowd.post("email/confirm", bearer(tokens["access_token"]), token=token)
        for tokens, token in await two_who_want_the_same(crowd)
    ]
    assert [answer.status_code for answer in answers] == [204, 409]
    assert answers[1].json()["detail"] == "There is an account with this address already"


async def test_nobody_gets_more_mails_than_a_few(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, new = await people.signed_in(), new_address()
    monkeypatch.setattr(throttle, "MAILS", throttle.Limit("mails", 2, throttle.HOUR))
    assert {(await ask(people, tokens, new)).status_code for _ in range(3)} == {202}
    for _ in range(2):
        await people.mailbox.next(new)
    assert await people.mails_left(new) == 0
    monkeypatch.setattr(throttle, "MAILERS", throttle.Limit("mailers", 0, throttle.HOUR))
    assert (await ask(people, tokens, new_address())).status_code == 429


@pytest.mark.parametrize("email", ["", "ada", "ada@example.com, eve@example.com"])
async def test_what_is_no_address_is_refused(people: People, email: str) -> None:
    assert (await ask(people, await people.signed_in(), email)).status_code == 422
