"""The port of secrets: it is always there, whatever stands behind it."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.config import Settings
from app.core.application import create_app
from app.core.secrets import OAuthClient, oauth_client, secrets
from app.core.secrets.environment import MemoryStore
from app.core.settings import DEVELOPMENT_SECRET
from tests.core.plugin import with_changes
from tests.core.stores import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def started(self, settings: Settings) -> Iterator[None]:
        with secrets.given_by(settings):
            secrets.use(MemoryStore())
            yield


async def test_the_present_value_of_a_setting_is_at_hand(app: FastAPI, settings: Settings) -> None:
    assert secrets.current("SECRET_KEY") == settings.secret_key
    assert secrets.current("project_name") == SecretStr(settings.project_name)
    assert secrets.current("DATABASE_REPLICA_URL_NOWHERE") is None


async def test_other_variables_too(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_CLIENT_ID", "me")
    monkeypatch.setenv("EXAMPLE_CLIENT_SECRET", "hunter2")
    other = create_app(settings)
    async with other.router.lifespan_context(other):
        client = oauth_client("example")
        with pytest.raises(LookupError, match="OTHER_CLIENT_ID is not set"):
            oauth_client("other")
    assert client == OAuthClient("me", SecretStr("hunter2"))
    assert "hunter2" not in repr(client)


async def test_documents_have_no_place_before_the_start(settings: Settings) -> None:
    with secrets.given_by(settings), pytest.raises(RuntimeError, match="lifespan"):
        await secrets.get("notes")


async def test_documents_can_be_kept(app: FastAPI) -> None:
    await secrets.put("notes", {"KEY": "x"})
    assert await secrets.list() == ["notes"]
    await secrets.refresh()


async def test_a_second_application_gives_back_what_it_took(
    app: FastAPI, settings: Settings
) -> None:
    key = SecretStr("of the second application only!!")
    other = create_app(with_changes(settings, secret_key=key))
    async with other.router.lifespan_context(other):
        assert secrets.current("SECRET_KEY") == key
    assert secrets.current("SECRET_KEY") == settings.secret_key


def test_changes_are_told_to_whoever_listens(settings: Settings) -> None:
    heard: list[SecretStr | None] = []

    def fails(_: SecretStr | None) -> None:
        raise RuntimeError

    with secrets.given_by(settings):
        stop_failing = secrets.on_change("JWT_SECRET_OF_A_TEST", fails)
        stop = secrets.on_change("JWT_SECRET_OF_A_TEST", heard.append)
        for value in ("one", "one", "two"):
            secrets.take_up({"JWT_SECRET_OF_A_TEST": SecretStr(value)})
        stop()
        stop_failing()
        secrets.take_up({})
    assert heard == [SecretStr("one"), SecretStr("two")]


def test_what_was_said_at_the_start_wins_over_the_store(settings: Settings) -> None:
    told = with_changes(settings, secret_key=SecretStr("said by an argument, so it stays"))
    with secrets.given_by(told):
        secrets.take_up({"SECRET_KEY": SecretStr("said by the store")})
        assert secrets.current("SECRET_KEY") == told.secret_key


def from_store(settings: Settings, **values: str) -> Settings:
    """Settings that a store has given."""
    read = with_changes(settings, **values)
    read._from_store = frozenset(values)
    return read


def test_what_the_store_takes_back_is_gone_unless_it_is_needed(settings: Settings) -> None:
    read = from_store(settings, smtp_url="smtp://mail.example.com", secret_key="at the start")  # noqa: S106
    with secrets.given_by(read):
        last = {"SECRET_KEY": SecretStr("the last one"), "OTHER": SecretStr("x")}
        secrets.take_up({"SMTP_URL": SecretStr("smtp://mail.example.com"), **last})
        secrets.take_up({})
        assert secrets.current("SMTP_URL") is None
        assert secrets.current("OTHER") is None
        assert secrets.current("SECRET_KEY") == last["SECRET_KEY"]


def test_a_value_with_which_it_would_not_start_is_not_taken_up(settings: Settings) -> None:
    good = "of the store, and long enough for all"
    strict = with_changes(settings, environment="staging", secret_key=good)
    with secrets.given_by(from_store(strict, secret_key=good, smtp_url="smtp://a.example.com")):
        secrets.take_up({"SECRET_KEY": SecretStr(good), "SMTP_URL": SecretStr("smtp://b.example")})
        nonsense = {"SECRET_KEY": DEVELOPMENT_SECRET, "SMTP_URL": "nonsense"}
        secrets.take_up({name: SecretStr(value) for name, value in nonsense.items()})
        assert secrets.current("SECRET_KEY") == SecretStr(good)
        assert secrets.current("SMTP_URL") == SecretStr("smtp://b.example")


def test_outside_of_the_lifespan_they_are_refused() -> None:
    with pytest.raises(RuntimeError, match="outside of the application's lifespan"):
        type(secrets)().current("SECRET_KEY")
