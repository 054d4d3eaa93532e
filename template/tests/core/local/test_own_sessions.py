"""Sessions: refresh tokens work once, and a stolen one ends its session."""

import asyncio
import base64
import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, func, select

from app.config import Settings
from app.core.auth.local import admin, refresh_tokens, sessions
from app.core.auth.local.models import HOME, UserSession
from app.core.auth.local.realms.realm import entered, everywhere
from app.core.database.types import utc_now
from tests.core.issuing.base import Issuer, bearer
from tests.core.local.conftest import GRACE_SECONDS
from tests.core.local.people import AUTH, PASSWORD, People, Tokens, account
from tests.core.local.realms.realm import realm_of

AT_ONCE = 100


async def age(seconds: float) -> None:
    """Let time go by for all sessions."""
    by = timedelta(seconds=seconds)
    with everywhere("test"):
        async with HOME.session_context() as session:
            for row in await session.scalars(select(UserSession)):
                row.refreshed_at -= by
                row.expires_at -= by
                row.ends_at -= by
            await session.flush()


async def count_sessions() -> int:
    with everywhere("test"):
        async with HOME.read_session_context() as session:
            return await session.scalar(select(func.count()).select_from(UserSession)) or 0


async def stored(tokens: Tokens) -> UserSession | None:
    with everywhere("test"):
        async with HOME.read_session_context() as session:
            return await session.get(UserSession, session_id(tokens))


async def test_a_refresh_gives_a_new_pair(people: People) -> None:
    first = await people.signed_in()
    answer = await people.refresh(first)
    second = answer.json()
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert second["refresh_token"] != first["refresh_token"]
    subjects = [(await people.me(each)).json()["subject"] for each in (first, second)]
    assert subjects[0] == subjects[1]
    assert (await people.refresh(second)).status_code == 200


async def test_a_stolen_token_ends_its_whole_family(
    people: People, audited: list[dict[str, object]]
) -> None:
    email = await people.join()
    other = await people.login(email)
    stolen = await people.login(email)
    present = (await people.refresh(stolen)).json()
    await age(11)
    assert (await people.refresh(stolen)).status_code == 401
    assert (await people.refresh(present)).status_code == 401
    assert (await people.refresh(other)).status_code == 200, "another session is no business of it"
    assert [line["event"] for line in audited].count("session.reused") == 1


async def test_an_old_token_ends_its_family_at_once(people: People) -> None:
    first = await people.signed_in()
    second = (await people.refresh(first)).json()
    third = (await people.refresh(second)).json()
    assert (await people.refresh(first)).status_code == 401
    assert (await people.refresh(third)).status_code == 401


async def test_a_second_tab_does_not_sign_anybody_out(people: People) -> None:
    first = await people.signed_in()
    second = (await people.refresh(first)).json()
    answer = await people.refresh(first)
    assert (answer.status_code, "refresh_token" in answer.json()) == (409, False)
    assert (await people.refresh(second)).status_code == 200


async def test_a_hundred_refreshes_at_once_give_one_pair(crowd: People) -> None:
    tokens = await crowd.signed_in()
    answers = await asyncio.gather(*(crowd.refresh(tokens) for _ in range(AT_ONCE)))
    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) == [200] + [409] * (AT_ONCE - 1)
    winner = answers[statuses.index(200)].json()
    assert (await crowd.refresh(winner)).status_code == 200


async def test_a_thief_at_the_same_time_gets_nothing_and_is_noticed(crowd: People) -> None:
    tokens = await crowd.signed_in()
    await asyncio.gather(*(crowd.refresh(tokens) for _ in range(5)))
    await age(GRACE_SECONDS + 1)
    answers = await asyncio.gather(*(crowd.refresh(tokens) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {401}
    assert await stored(tokens) is None


async def test_guesses_at_the_same_time_are_all_counted(crowd: People) -> None:
    email = await crowd.join()
    body = {"email": email, "password": "wrong, but long enough"}
    answers = await asyncio.gather(*(crowd.post("login", **body) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 15


async def test_a_mailed_token_used_twice_at_once_works_once(crowd: People) -> None:
    email = await crowd.join()
    await crowd.post("password/forgot", email=email)
    body = {"token": await crowd.mailed_token(email), "password": "one of many new ones"}
    answers = await asyncio.gather(*(crowd.post("password/reset", **body) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [204] + [400] * 4


def session_id(tokens: Tokens) -> uuid.UUID:
    return uuid.UUID(bytes=base64.urlsafe_b64decode(tokens["refresh_token"])[:16])


def forged(tokens: Tokens, generation: int) -> str:
    raw = bytearray(base64.urlsafe_b64decode(tokens["refresh_token"]))
    raw[16:20] = generation.to_bytes(4)
    raw[40] ^= 1
    return base64.urlsafe_b64encode(raw).decode()


@pytest.mark.parametrize("text", ["x", "é", "a" * 80, "a" * 129, "===", "\u0000"])
async def test_nonsense_is_no_refresh_token(people: People, text: str) -> None:
    answer = await people.post("refresh", refresh_token=text)
    assert answer.status_code in (401, 422)


async def test_a_forged_token_ends_no_session(people: People) -> None:
    first = await people.signed_in()
    second = (await people.refresh(first)).json()
    await age(11)
    for generation in (0, 1, 2):
        answer = await people.post("refresh", refresh_token=forged(first, generation))
        assert answer.status_code == 401
    wide = second["refresh_token"] + "="
    assert (await people.post("refresh", refresh_token=wide)).status_code == 401
    assert (await people.refresh(second)).status_code == 200


async def test_a_session_that_is_not_used_ends(people: People, settings: Settings) -> None:
    tokens = await people.signed_in()
    await age(settings.auth_session_idle_hours * 3600 + 1)
    assert (await people.refresh(tokens)).status_code == 401


async def test_a_session_ends_however_much_it_is_used(people: People, settings: Settings) -> None:
    tokens = await people.signed_in()
    step = settings.auth_session_idle_hours * 3600 - 60
    for _ in range(settings.auth_session_hours * 3600 // step):
        await age(step)
        answer = await people.refresh(tokens)
        assert answer.status_code == 200
        tokens = answer.json()
    await age(step)
    assert (await people.refresh(tokens)).status_code == 401


@pytest.mark.parametrize("by", ["refresh token", "access token", "old refresh token"])
async def test_after_signing_out_nothing_is_refreshed(people: People, by: str) -> None:
    old = await people.signed_in()
    tokens = (await people.refresh(old)).json()
    if by == "access token":
        headers = bearer(tokens["access_token"])
        answer = await people.caller.post(f"{AUTH}/logout", headers=headers)
    else:
        given = old if by.startswith("old") else tokens
        answer = await people.post("logout", refresh_token=given["refresh_token"])
    assert answer.status_code == 204
    assert (await people.refresh(tokens)).status_code == 401


async def test_signing_out_ends_a_session_from_before_the_key_was_changed(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, others = await people.signed_in(), await people.signed_in()
    monkeypatch.setattr(refresh_tokens, "_code", lambda *_: b"another key")
    invented = base64.urlsafe_b64decode(others["refresh_token"])
    invented = invented[:36] + bytes(len(invented) - 36)
    for token in (tokens["refresh_token"], base64.urlsafe_b64encode(invented).decode()):
        assert (await people.post("logout", refresh_token=token)).status_code == 204
    assert (await people.refresh(tokens)).status_code == 401
    assert (await people.refresh(others)).status_code == 200


async def test_signing_out_needs_something(people: People) -> None:
    assert (await people.caller.post(f"{AUTH}/logout")).status_code == 400
    assert (await people.post("logout", refresh_token="unknown")).status_code == 204  # noqa: S106


async def test_signing_out_everywhere(people: People) -> None:
    email = await people.join()
    one, two = await people.login(email), await people.login(email)
    other = await people.signed_in()
    answer = await people.post("logout-all", bearer(one["access_token"]))
    assert answer.status_code == 204
    assert [(await people.refresh(each)).status_code for each in (one, two, other)] == [
        401,
        401,
        200,
    ]


async def test_sessions_are_listed_and_ended(people: People) -> None:
    email = await people.join()
    here, elsewhere = await people.login(email), await people.login(email)
    headers = bearer(here["access_token"])
    items = (await people.caller.get(f"{AUTH}/sessions", headers=headers)).json()["items"]
    assert [each["current"] for each in items] == [False, True]
    assert items[0]["address"] == "127.0.0.1"
    assert items[0]["user_agent"].startswith("python-httpx")
    assert "token" not in str(items)
    address = f"{AUTH}/sessions/{items[0]['id']}"
    statuses = [(await people.caller.delete(address, headers=headers)).status_code for _ in "12"]
    assert statuses == [204, 404]
    assert [(await people.refresh(each)).status_code for each in (here, elsewhere)] == [200, 401]


async def test_nobody_ends_a_session_of_somebody_else(people: People) -> None:
    mine, theirs = await people.signed_in(), await people.signed_in()
    address = f"{AUTH}/sessions/{session_id(theirs)}"
    answer = await people.caller.delete(address, headers=bearer(mine["access_token"]))
    assert answer.status_code == 404
    assert (await people.refresh(theirs)).status_code == 200


async def test_a_token_of_no_user_has_no_sessions(people: People, issuer: Issuer) -> None:
    for path in ("logout-all", "password/change"):
        body = {"current_password": PASSWORD, "new_password": "another long passphrase"}
        answer = await people.post(path, bearer(issuer.token("a-machine")), **body)
        assert answer.status_code == 403


async def test_roles_are_read_anew_at_each_refresh(people: People) -> None:
    email = await people.join()
    tokens = await people.login(email)
    with entered(await realm_of(email)):
        await admin.grant(email, "auditor")
    assert "auditor" not in (await people.me(tokens)).json()["roles"]
    tokens = (await people.refresh(tokens)).json()
    assert "auditor" in (await people.me(tokens)).json()["roles"]


async def test_a_disabled_user_refreshes_nothing(people: People) -> None:
    email = await people.join()
    tokens = await people.login(email)
    async with account(email) as user:
        user.disabled_at = utc_now()
    assert (await people.refresh(tokens)).status_code == 401


async def test_the_oldest_sessions_of_a_user_go(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MOST_SESSIONS", 3)
    email = await people.join()
    first = await people.login(email)
    later = [await people.login(email) for _ in range(3)]
    assert await count_sessions() == 3
    assert (await people.refresh(first)).status_code == 401
    assert (await people.refresh(later[0])).status_code == 200


async def test_no_request_asks_the_database_who_calls(people: People) -> None:
    tokens = await people.signed_in()
    assert (await people.me(tokens)).status_code == 200  # from now on its tenant, if any, is known
    asked: list[str] = []

    def note(*given: Any) -> None:
        asked.append(given[2])

    engine = HOME.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        assert (await people.me(tokens)).status_code == 200
        assert asked == []
        await people.caller.get(f"{AUTH}/sessions", headers=bearer(tokens["access_token"]))
        assert asked, "this is how it would show"
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def test_the_hash_of_the_token_is_stored_and_nothing_else(people: People) -> None:
    tokens = await people.signed_in()
    kept = str(vars(await stored(tokens)))
    assert tokens["refresh_token"] not in kept
    assert tokens["refresh_token"][50:80] not in kept
