"""Registering: an account needs a verified address, and nobody learns who has one."""

import asyncio
import json
import uuid
from collections.abc import Callable
from inspect import getmembers, isfunction, signature
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import func, select, update

from app.config import Settings
from app.core.application import create_app
from app.core.auth.local import letters, throttle
from app.core.auth.local import sweep as sweep_module
from app.core.auth.local.models import HOME, Attempt, MailToken, UserSession
from app.core.auth.local.passwords import COMMON, Passwords
from app.core.auth.local.realms.realm import everywhere
from app.core.auth.local.sweep import sweep
from app.core.database.types import utc_now
from app.core.logging import clean_text
from app.core.mail import Mail
from tests.core.issuing.base import bearer
from tests.core.local.people import AUTH, OTHER, PASSWORD, People, account, body_of, new_address
from tests.core.mailbox import Mailbox
from tests.core.plugin import Addresses, caller_of, with_changes

LETTERS = [letter for name, letter in getmembers(letters, isfunction) if not name.startswith("_")]


async def test_register_verify_and_sign_in(people: People) -> None:
    email = await people.join()
    tokens = await people.login(email)
    me = (await people.me(tokens)).json()
    assert uuid.UUID(me["subject"])
    assert me["provider"] == "local"


async def test_nobody_waits_for_a_replica_that_is_late(late: People, mailbox: Mailbox) -> None:
    email, other = await late.join(), new_address()
    tokens = await late.login(email)
    assert (await late.refresh(tokens)).status_code == 200
    headers = bearer(tokens["access_token"])
    listed = (await late.caller.get(f"{AUTH}/sessions", headers=headers)).json()
    assert [each["current"] for each in listed["items"]] == [True]
    body = {"current_password": PASSWORD, "new_password": OTHER}
    assert (await late.post("password/change", headers, **body)).status_code == 200
    assert "was changed" in (await mailbox.next(email))["Subject"]
    assert (await late.post("password/forgot", email=email)).status_code == 202
    body = {"token": await late.mailed_token(email), "password": PASSWORD}
    assert (await late.post("password/reset", **body)).status_code == 204
    assert "was changed" in (await mailbox.next(email))["Subject"]
    body = {"current_password": PASSWORD, "new_email": other}
    assert (await late.post("email/change", headers, **body)).status_code == 202
    token = await late.mailed_token(other)
    assert (await late.post("email/confirm", headers, token=token)).status_code == 204
    await late.forget_mails(email)


async def test_an_answer_with_tokens_is_as_oauth_wants_it(people: People) -> None:
    email = await people.join()
    answer = await people.post("login", email=email, password=PASSWORD)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json().keys() == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("Bearer", 600)


async def test_nobody_signs_in_before_the_address_is_verified(people: People) -> None:
    email = new_address()
    await people.post("register", email=email, password=PASSWORD)
    answer = await people.post("login", email=email, password=PASSWORD)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_a_token_from_a_mail_works_once(people: People) -> None:
    email = new_address()
    await people.post("register", email=email, password=PASSWORD)
    token = await people.mailed_token(email)
    answers = [await people.post("verify-email", token=token) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [204, 400]


async def test_a_token_from_a_mail_is_tried_a_few_times(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try costs a hash: whoever has registered keeps nobody else from signing in."""
    email = new_address()
    await people.post("register", email=email, password=PASSWORD)
    token = await people.mailed_token(email)
    wrong = [await people.post("verify-email", token=token, password=OTHER) for _ in range(6)]
    assert [answer.status_code for answer in wrong] == [403] * 5 + [429]
    monkeypatch.setattr(throttle, "TOKEN", throttle.Limit("token", 7, throttle.QUARTER))
    assert (await people.post("verify-email", token=token)).status_code == 204


async def test_an_address_is_throttled_over_all_tokens(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "ADDRESS", throttle.Limit("address", 1, throttle.QUARTER))
    for _ in range(2):  # what succeeds is no guess
        email = await people.join()
        await people.post("password/forgot", email=email)
        body = {"token": await people.mailed_token(email), "password": OTHER}
        assert (await people.post("password/reset", **body)).status_code == 204
        await people.mailbox.next(email)  # which says so
    monkeypatch.setattr(throttle, "ADDRESS", throttle.Limit("address", 0, throttle.QUARTER))
    await people.post("password/forgot", email=email)
    body = {"token": await people.mailed_token(email), "password": PASSWORD}
    assert (await people.post("password/reset", **body)).status_code == 429


@pytest.mark.parametrize("path", ["verify-email", "password/reset", "refresh", "logout"])
async def test_half_a_letter_is_no_token(people: People, path: str) -> None:
    name = "refresh_token" if path in ("refresh", "logout") else "token"
    content = json.dumps({name: "\ud800", "password": PASSWORD})
    headers = {"Content-Type": "application/json"}
    answer = await people.caller.post(f"{AUTH}/{path}", content=content, headers=headers)
    assert answer.status_code == 422


async def test_a_token_from_a_mail_serves_one_purpose(people: People) -> None:
    email = new_address()
    await people.post("register", email=email, password=PASSWORD)
    token = await people.mailed_token(email)
    answer = await people.post("password/reset", token=token, password=OTHER)
    assert answer.status_code == 400
    assert (await people.post("verify-email", token=token)).status_code == 204


async def test_a_token_from_a_mail_expires(people: People) -> None:
    email = new_address()
    await people.post("register", email=email, password=PASSWORD)
    token = await people.mailed_token(email)
    async with HOME.session_context() as session:
        row = (await session.scalars(select(MailToken).where(MailToken.email == email))).one()
        row.expires_at = utc_now()
    assert (await people.post("verify-email", token=token)).status_code == 400


async def test_only_a_hash_of_it_is_stored(people: People) -> None:
    email = new_address()
    await people.post("register", email=email, password=PASSWORD)
    token = await people.mailed_token(email)
    async with HOME.read_session_context() as session:
        row = (await session.scalars(select(MailToken).where(MailToken.email == email))).one()
    assert token not in str(vars(row))
    assert str(row.password_hash).startswith("$argon2id$")


async def test_whoever_registers_for_somebody_else_gets_no_account(people: People) -> None:
    email = new_address()
    await people.post("register", email=email, password="the attacker's own password")  # noqa: S106
    attackers = await people.mailed_token(email)
    await people.join(email)
    assert (await people.post("verify-email", token=attackers)).status_code == 400
    answer = await people.post("login", email=email, password="the attacker's own password")  # noqa: S106
    assert answer.status_code == 401
    await people.login(email)


async def test_the_mail_of_somebody_else_s_registration_is_worth_nothing(people: People) -> None:
    """The owner of the address has registered, too, and follows the wrong one of two mails."""
    email = new_address()
    await people.post("register", email=email, password=OTHER)
    attackers = await people.mailed_token(email)
    await people.post("register", email=email, password=PASSWORD)
    own = await people.mailed_token(email)
    assert (await people.post("verify-email", token=attackers)).status_code == 403
    assert (await people.post("login", email=email, password=OTHER)).status_code == 401
    assert (await people.post("verify-email", token=own)).status_code == 204
    await people.login(email)


async def test_an_address_has_one_spelling(people: People) -> None:
    email = await people.join()
    await people.login(email.upper())
    await people.login(f"  {email.title()} ")


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ada",
        "ada@localhost",
        "ada@example.com\r\nBcc: eve@example.com",
        "ada@example.com, eve@example.com",
        "Ada <ada@example.com>",
        "ada@exämple.com",
        "ad\u0131@example.com",
        f"{'a' * 65}@example.com",
        f"a@{'b' * 250}.com",
    ],
)
async def test_what_is_no_address_is_refused(people: People, email: str) -> None:
    for path in ("register", "login"):
        answer = await people.post(path, email=email, password=PASSWORD)
        assert answer.status_code == 422
    assert (await people.post("password/forgot", email=email)).status_code == 422


@pytest.mark.parametrize(
    "password",
    ["", "short", "eleven char", "password1234", "PassWord1234", "aaaaaaaaaaaaaaaa", "a" * 1025],
)
async def test_bad_passwords_are_refused_and_not_repeated(people: People, password: str) -> None:
    answer = await people.post("register", email=new_address(), password=password)
    assert answer.status_code == 422
    if password:
        assert password not in answer.text


async def test_the_address_is_no_password(people: People) -> None:
    email = new_address()
    for password in (email, email.upper(), email.partition("@")[0]):
        answer = await people.post("register", email=email, password=password)
        assert answer.status_code == 422


def test_the_common_passwords_are_long_enough_to_be_refused_for_being_common() -> None:
    assert min(map(len, COMMON)) >= 12
    assert all(password == password.casefold() for password in COMMON)


async def test_a_password_that_is_no_text_is_refused(people: People) -> None:
    given = {"email": "ada@example.com", "password": "\ud800 long enough for all"}
    body = json.dumps(body_of("register", given))  # escapes it
    headers = {"Content-Type": "application/json"}
    answer = await people.caller.post(f"{AUTH}/register", content=body, headers=headers)
    assert [each["loc"] for each in answer.json()["errors"]] == [["body", "password"]]


@pytest.mark.parametrize("password", ["  blanks belong to it  ", "ein Paßwört mit \U0001f600 drin"])
async def test_a_password_may_be_anything(people: People, password: str) -> None:
    email = await people.join(password=password)
    await people.login(email, password)
    answer = await people.post("login", email=email, password=password.strip() + "x")
    assert answer.status_code == 401


async def test_a_password_is_the_same_from_every_keyboard(people: People) -> None:
    email = await people.join(password="caf\u00e9 caf\u00e9 caf\u00e9")  # noqa: S106
    await people.login(email, "cafe\u0301 cafe\u0301 cafe\u0301")


# --- nobody learns who has an account ---


@pytest.mark.parametrize("path", ["login", "password/forgot"])
async def test_known_and_unknown_addresses_are_the_same(
    people: People, hashing: list[str], path: str
) -> None:
    seen = []
    for email in (await people.join(), new_address()):
        hashing.clear()
        body = {"email": email} | ({} if path == "password/forgot" else {"password": OTHER})
        answer = await people.post(path, **body)
        problem = {**answer.json(), "request_id": None, "instance": None}
        names = sorted(set(answer.headers.keys()))
        seen.append((answer.status_code, json.dumps(problem), names, list(hashing)))
    assert seen[0] == seen[1]
    assert seen[0][3] == {"login": ["verify"], "password/forgot": []}[path]


async def test_a_mail_tells_who_has_no_account(people: People, mailbox: Mailbox) -> None:
    unknown = new_address()
    await people.post("password/forgot", email=unknown)
    assert "no account" in (await mailbox.next(unknown))["Subject"]


@pytest.mark.parametrize("letter", LETTERS, ids=lambda letter: str(letter.__name__))
def test_the_log_has_the_whole_letter(settings: Settings, letter: Callable[..., Mail]) -> None:
    """In development it is where letters go."""
    more = ["a-token", "a tenant"][: len(signature(letter).parameters) - 2]
    mail = letter(settings, new_address(), *more)
    assert clean_text(mail.text) == mail.text


async def test_a_disabled_user_is_as_unknown_as_any(people: People, hashing: list[str]) -> None:
    email = await people.join()
    async with account(email) as user:
        user.disabled_at = utc_now()
    hashing.clear()
    answers = [
        await people.post("login", email=each, password=PASSWORD) for each in (email, new_address())
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].json()["detail"] == answers[1].json()["detail"]
    assert hashing == ["verify", "verify"]


# --- passwords ---


async def test_a_forgotten_password_is_replaced_and_all_sessions_end(
    people: People, audited: list[dict[str, object]]
) -> None:
    email = await people.join()
    tokens = await people.login(email)
    await people.post("password/forgot", email=email)
    token = await people.mailed_token(email)
    assert (await people.post("password/reset", token=token, password="short")).status_code == 422  # noqa: S106
    assert (await people.post("password/reset", token=token, password=OTHER)).status_code == 204
    assert (await people.refresh(tokens)).status_code == 401
    assert (await people.post("login", email=email, password=PASSWORD)).status_code == 401
    await people.login(email, OTHER)
    assert (await people.post("password/reset", token=token, password=PASSWORD)).status_code == 400
    assert "password.reset" in [line["event"] for line in audited]


async def test_whoever_has_tried_too_often_signs_in_with_a_new_password(people: People) -> None:
    email = await people.join()
    for _ in range(6):
        answer = await people.post("login", email=email, password=OTHER)
    assert answer.status_code == 429
    await people.post("password/forgot", email=email)
    token = await people.mailed_token(email)
    assert (await people.post("password/reset", token=token, password=OTHER)).status_code == 204
    await people.login(email, OTHER)


async def test_a_reset_withdraws_all_other_mails(people: People, mailbox: Mailbox) -> None:
    email = await people.join()
    await people.post("password/forgot", email=email)
    first = await people.mailed_token(email)
    await people.post("password/forgot", email=email)
    second = await people.mailed_token(email)
    assert (await people.post("password/reset", token=second, password=OTHER)).status_code == 204
    assert (await people.post("password/reset", token=first, password=PASSWORD)).status_code == 400
    assert "was changed" in (await mailbox.next(email))["Subject"]


async def test_a_disabled_user_gets_no_new_password(people: People) -> None:
    email = await people.join()
    await people.post("password/forgot", email=email)
    token = await people.mailed_token(email)
    async with account(email) as user:
        user.disabled_at = utc_now()
    assert (await people.post("password/reset", token=token, password=OTHER)).status_code == 400


async def test_a_bad_password_replaces_none(people: People) -> None:
    email = await people.join()
    tokens = await people.login(email)
    body = {"current_password": PASSWORD, "new_password": email}
    answer = await people.post("password/change", bearer(tokens["access_token"]), **body)
    assert answer.status_code == 422
    await people.login(email)


async def test_a_changed_password_ends_all_sessions_but_the_new_one(
    people: People, audited: list[dict[str, object]]
) -> None:
    email = await people.join()
    here, elsewhere = await people.login(email), await people.login(email)
    body = {"current_password": PASSWORD, "new_password": OTHER}
    answer = await people.post("password/change", bearer(here["access_token"]), **body)
    assert answer.status_code == 200
    assert (await people.refresh(here)).status_code == 401
    assert (await people.refresh(elsewhere)).status_code == 401
    assert (await people.refresh(answer.json())).status_code == 200
    await people.login(email, OTHER)
    assert "password.changed" in [line["event"] for line in audited]


async def test_a_password_is_changed_only_by_who_knows_it(people: People) -> None:
    tokens = await people.signed_in()
    body = {"current_password": OTHER, "new_password": OTHER}
    headers = bearer(tokens["access_token"])
    assert (await people.post("password/change", **body)).status_code == 401
    statuses = [
        (await people.post("password/change", headers, **body)).status_code for _ in range(6)
    ]
    assert statuses == [403] * 5 + [429]


async def test_guessing_the_present_password_is_throttled_over_all_addresses(
    people: People, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has taken a token guesses no more often by changing places; its owner goes on."""
    monkeypatch.setattr(throttle, "ACCOUNT", throttle.Limit("account", 3, throttle.QUARTER))
    tokens = await people.signed_in()
    body = {"current_password": OTHER, "new_password": OTHER}
    statuses = []
    for number in range(5):
        async with caller_of(app, f"203.0.113.{number}", bearer(tokens["access_token"])) as thief:
            statuses.append((await thief.post(f"{AUTH}/password/change", json=body)).status_code)
    assert statuses == [403] * 3 + [429] * 2
    right = {"current_password": PASSWORD, "new_password": OTHER}
    answer = await people.post("password/change", bearer(tokens["access_token"]), **right)
    assert answer.status_code == 200


async def test_an_old_hash_is_replaced_at_sign_in(people: People) -> None:
    email = await people.join()
    aged = await Passwords(16, 1, 1, 1).hash(PASSWORD)
    async with account(email) as user:
        user.password_hash = aged
    await people.login(email)
    async with account(email) as user:
        pass
    assert user.password_hash != aged
    assert "m=8," in str(user.password_hash)
    await people.login(email)


async def test_a_password_changed_meanwhile_signs_nobody_in(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    email = await people.join()
    verify = Passwords.verify

    async def change_meanwhile(self: Passwords, password: str, stored: str | None) -> Any:
        verdict = await verify(self, password, stored)
        async with account(email) as user:
            user.password_hash = await self.hash(OTHER)
        return verdict

    monkeypatch.setattr(Passwords, "verify", change_meanwhile)
    assert (await people.post("login", email=email, password=PASSWORD)).status_code == 401


async def test_passwords_wait_for_threads_of_their_own(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.core.auth.local.passwords.MOST_WAITING", 0)
    for path in ("login", "register"):
        answer = await people.post(path, email=new_address(), password=PASSWORD)
        assert answer.status_code == 503


# --- throttle ---


async def test_guessing_is_throttled_for_known_and_unknown_alike(
    people: People, audited: list[dict[str, object]]
) -> None:
    for email in (await people.join(), new_address()):
        answers = [await people.post("login", email=email, password=OTHER) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [401] * 5 + [429]
        assert 800 < int(answers[-1].headers["Retry-After"]) <= 900
        # Even the right password has to wait now.
        answer = await people.post("login", email=email, password=PASSWORD)
        assert answer.status_code == 429
    assert "throttle.exceeded" in [line["event"] for line in audited]


async def test_the_owner_still_signs_in_elsewhere(
    people: People, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guesses from everywhere do not lock out an owner who is signed in at an address."""
    monkeypatch.setattr(throttle, "ACCOUNT", throttle.Limit("account", 8, throttle.QUARTER))
    email = await people.join()
    await people.login(email)
    for number in range(9):
        async with caller_of(app, f"203.0.113.{number}", {}) as attacker:
            body = body_of("login", {"email": email, "password": OTHER})
            status = (await attacker.post(f"{AUTH}/login", json=body)).status_code
            assert status == (401 if number < 8 else 429)
    await people.login(email)


async def test_one_address_uses_up_nobody_s_tries(
    people: People, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "ACCOUNT", throttle.Limit("account", 6, throttle.QUARTER))
    email = await people.join()
    body = body_of("login", {"email": email, "password": OTHER})
    async with caller_of(app, "203.0.113.1", {}) as attacker:
        for _ in range(10):
            await attacker.post(f"{AUTH}/login", json=body)
    await people.login(email)


async def test_who_is_signed_in_is_known_in_all_of_a_network(
    people: People, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Addresses of IPv6 change with the hour."""
    email = await people.join()
    right, wrong = (body_of("login", {"email": email, "password": p}) for p in (PASSWORD, OTHER))
    async with caller_of(app, "2001:db8:1:2::1", {}) as before:
        assert (await before.post(f"{AUTH}/login", json=right)).status_code == 200
    monkeypatch.setattr(throttle, "ACCOUNT", throttle.Limit("account", 0, throttle.QUARTER))
    async with caller_of(app, "2001:db8:1:3::1", {}) as attacker:
        assert (await attacker.post(f"{AUTH}/login", json=wrong)).status_code == 429
    async with caller_of(app, "2001:db8:1:2::2", {}) as owner:
        assert (await owner.post(f"{AUTH}/login", json=right)).status_code == 200


async def test_an_address_is_throttled_over_all_accounts(
    people: People, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "ADDRESS", throttle.Limit("address", 3, throttle.QUARTER))
    statuses = []
    for number in range(4):  # one subscriber has all of these
        async with caller_of(app, f"2001:db8:1:2::{number}", {}) as attacker:
            body = body_of("login", {"email": new_address(), "password": OTHER})
            statuses.append((await attacker.post(f"{AUTH}/login", json=body)).status_code)
    assert statuses == [401, 401, 401, 429]
    answer = await people.post("login", email=new_address(), password=OTHER)
    assert answer.status_code == 401


async def test_a_throttle_ends(people: People) -> None:
    email = await people.join()
    for _ in range(6):
        await people.post("login", email=email, password=OTHER)
    async with HOME.session_context() as session:
        for attempt in await session.scalars(select(Attempt)):
            attempt.expires_at = utc_now()
    await people.login(email)


async def test_signing_in_rightly_is_no_guess(people: People) -> None:
    email = await people.join()
    for _ in range(3):
        for _ in range(4):
            await people.post("login", email=email, password=OTHER)
        await people.login(email)


async def test_nobody_gets_more_mails_than_a_few(people: People, mailbox: Mailbox) -> None:
    email = new_address()
    answers = [await people.post("password/forgot", email=email) for _ in range(7)]
    assert {answer.status_code for answer in answers} == {202}
    for _ in range(5):
        await mailbox.next(email)
    assert await people.mails_left(email) == 0


async def test_nobody_is_kept_from_choosing_a_new_password(people: People) -> None:
    """By whoever has other mails sent to them; of these, too, there are a few only."""
    email = await people.join()
    for _ in range(throttle.MAILS.most + 1):
        await throttle.count((throttle.MAILS, email))
    for _ in range(7):
        assert (await people.post("password/forgot", email=email)).status_code == 202
    tokens = [await people.mailed_token(email) for _ in range(5)]
    assert await people.mails_left(email) == 0
    answer = await people.post("password/reset", token=tokens[0], password=OTHER)
    assert answer.status_code == 204


async def test_nobody_causes_more_mails_than_a_few(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "MAILERS", throttle.Limit("mailers", 2, throttle.HOUR))
    answers = [await people.post("password/forgot", email=new_address()) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]


async def test_what_has_expired_is_forgotten(people: People) -> None:
    await people.signed_in()
    await people.post("password/forgot", email=new_address())
    models = (Attempt, MailToken, UserSession)
    with everywhere("test"):
        async with HOME.session_context() as session:
            for model in models:
                assert await session.scalar(select(func.count()).select_from(model))
                await session.execute(update(model).values(expires_at=utc_now()))
    await sweep()
    with everywhere("test"):
        async with HOME.read_session_context() as session:
            for model in models:
                assert await session.scalar(select(func.count()).select_from(model)) == 0


async def test_a_running_service_sweeps_from_time_to_time(
    settings: Settings, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = asyncio.Event()

    async def fail() -> None:
        swept.set()
        raise RuntimeError

    monkeypatch.setattr(sweep_module, "INTERVAL_SECONDS", 0)
    monkeypatch.setattr(sweep_module, "sweep", fail)
    service = create_app(settings)
    async with service.router.lifespan_context(service):
        for _ in range(2):  # it goes on after a failure
            await asyncio.wait_for(swept.wait(), 10)
            swept.clear()


async def test_when_tries_cannot_be_counted_nobody_signs_in(
    settings: Settings, app: FastAPI, empty_databases: Addresses
) -> None:
    service = create_app(with_changes(settings, **empty_databases))
    async with service.router.lifespan_context(service), caller_of(service, headers={}) as caller:
        body = body_of("login", {"email": new_address(), "password": PASSWORD})
        assert (await caller.post(f"{AUTH}/login", json=body)).status_code >= 500


# --- what is written down ---


async def test_security_events_are_written_down_without_secrets(
    people: People, audited: list[dict[str, object]]
) -> None:
    email = await people.join()
    await people.post("login", email=email, password=OTHER)
    tokens = await people.login(email)
    events = [line["event"] for line in audited]
    assert events == ["user.registered", "login.failed", "login.succeeded"]
    text = str(audited)
    for secret in (PASSWORD, OTHER, tokens["refresh_token"], tokens["access_token"]):
        assert secret not in text
