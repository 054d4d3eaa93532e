"""Administration of users by a command."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from app.config import Settings
from app.core.auth.local import admin
from app.core.auth.local.realms.realm import entered
from app.core.errors import ValidationFailedError
from tests.core.local.browsing import ADA, PROVIDERS, Browser
from tests.core.local.elsewhere import Elsewhere, Person
from tests.core.local.people import OTHER, PASSWORD, People, new_address
from tests.core.local.realms.realm import giving, naming, realm_of
from tests.core.migrating import as_environment
from tests.core.plugin import Addresses


def run(
    addresses: Addresses, *arguments: str, password: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run the command as an operator does."""
    return subprocess.run(  # noqa: S603
        [sys.executable, "-m", "app.core.auth.local.admin", *arguments],
        env={**os.environ, **as_environment(addresses)},
        input=f"{password}\n",
        capture_output=True,
        text=True,
        check=False,
    )


async def test_the_first_administrator_is_made_by_a_command(
    crowd: People, own_databases: Addresses
) -> None:
    first, email = await crowd.join(), new_address()  # where there are tenants, in that of another
    more = ["--role", "admin", *giving(first)]
    done = run(own_databases, "create", email, *more, password=PASSWORD)
    assert (done.returncode, done.stdout) == (0, f"{email} may sign in as admin\n")
    assert PASSWORD not in done.stdout + done.stderr
    assert "user.created" in done.stderr
    tokens = await crowd.login(email, **naming(first))
    assert (await crowd.me(tokens)).json()["roles"] == ["admin"]


async def test_the_command_shows_what_is_true_now(
    late: People, own_databases: Addresses, late_replicas: Addresses
) -> None:
    email = await late.join()
    done = run(own_databases | late_replicas, "show", email, *giving(email))
    assert done.stdout.startswith(f"{email} "), done.stderr


def test_a_password_is_typed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter([PASSWORD, OTHER])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("getpass.getpass", lambda _: next(typed))
    with pytest.raises(SystemExit, match="two different passwords"):
        admin._read_password()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "ada", *giving("ada")], "must be an e-mail address"),
        (["grant", "ada@example.com", "two words", *giving("ada")], "a role is one word"),
        (["nonsense"], "invalid choice"),
        ([], "required: command"),
    ],
)
def test_what_makes_no_sense_is_explained(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        admin.main(arguments)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


async def test_a_user_is_made_once_and_with_a_good_password(
    people: People, settings: Settings
) -> None:
    first, email = await people.join(), new_address()
    with entered(await realm_of(first)):
        with pytest.raises(ValidationFailedError, match="A password has 12 to 1024"):
            await admin.create(settings, email, "short", [])
        await admin.create(settings, email, PASSWORD, ["auditor", "admin"])
        with pytest.raises(SystemExit, match=f"There is a user {email} already"):
            await admin.create(settings, email, OTHER, [])
    tokens = await people.login(email, **naming(first))
    assert (await people.me(tokens)).json()["roles"] == ["admin", "auditor"]


async def test_roles_are_granted_and_revoked(
    people: People, audited: list[dict[str, object]]
) -> None:
    email = await people.join()
    with entered(await realm_of(email)):
        assert await admin.grant(email, "auditor") == f"{email} has the role auditor"
        assert await admin.grant(email, "auditor") == f"{email} has the role auditor already"
        said = await admin.show(email)
        assert " enabled as auditor" in said
        assert said.endswith(" 0 sessions")
        assert await admin.revoke(email, "auditor") == f"{email} has no role auditor any more"
        assert await admin.revoke(email, "auditor") == f"{email} has no role auditor"
    tokens = await people.login(email)
    assert "auditor" not in (await people.me(tokens)).json()["roles"]
    events = [line["event"] for line in audited]
    assert events.count("role.granted") == events.count("role.revoked") == 1


async def test_a_disabled_user_is_out_at_once(
    people: People, audited: list[dict[str, object]]
) -> None:
    email = await people.join()
    tokens = await people.login(email)
    with entered(await realm_of(email)):
        await admin.disable(email)
    assert (await people.refresh(tokens)).status_code == 401
    assert (await people.post("login", email=email, password=PASSWORD)).status_code == 401
    with entered(await realm_of(email)):
        await admin.enable(email)
    await people.login(email)
    events = [line["event"] for line in audited]
    assert events.count("user.disabled") == events.count("user.enabled") == 1


async def test_a_link_to_a_provider_is_taken_away(
    browser: Browser,
    people: People,
    elsewhere: Elsewhere,
    provider: str,
    audited: list[dict[str, object]],
) -> None:
    browser.email = email = await people.join()
    elsewhere.person = Person(1, email)
    tokens = (await browser.sign_in(provider)).json()
    elsewhere.person = Person(1, None)  # known by its number alone
    assert (await browser.sign_in(provider)).status_code == 200
    with entered(await realm_of(email)):
        assert (await admin.show(email)).endswith(f" 2 sessions, linked with {provider}")
        assert (
            await admin.unlink(email, provider) == f"{email} is not linked with {provider} any more"
        )
        assert await admin.unlink(email, provider) == f"{email} is not linked with {provider}"
        assert (await admin.show(email)).endswith(" 0 sessions")
    assert (await people.refresh(tokens)).status_code == 401
    assert (await browser.sign_in(provider)).status_code == 403
    events = [line["event"] for line in audited if line.get("provider") == provider]
    assert events.count("identity.unlinked") == 1
    await people.forget_mails(email)


async def test_only_the_link_that_is_named_is_taken_away(browser: Browser, people: People) -> None:
    for name in PROVIDERS:
        await browser.sign_in(name)
    with entered(await realm_of(ADA)):
        assert (await admin.show(ADA)).endswith(", linked with github, google")
        await admin.unlink(ADA, "google")
        assert (await admin.show(ADA)).endswith(", linked with github")


async def test_a_link_is_taken_away_by_a_command(crowd: People, own_databases: Addresses) -> None:
    email = await crowd.join()
    done = run(own_databases, "unlink", email, "google", *giving(email))
    assert (done.returncode, done.stdout) == (0, f"{email} is not linked with google\n")


async def test_nobody_is_made_by_mistake(people: People) -> None:
    with (
        entered(await realm_of(await people.join())),
        pytest.raises(SystemExit, match="There is no user"),
    ):
        await admin.grant(new_address(), "admin")
